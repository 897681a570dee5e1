package arena

import (
	"os"
	"os/exec"
	"runtime"
)

// openBrowser shows url to the person, if it can be done. The page's address was printed,
// so nothing is lost where it cannot. All users of the machine can read url, see [web].
func openBrowser(url string) {
	var cmd *exec.Cmd
	switch runtime.GOOS {
	case "darwin":
		cmd = exec.Command("open", url)
	case "windows":
		cmd = exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
	default:
		if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" && os.Getenv("WSL_DISTRO_NAME") == "" {
			return // it would open one in the terminal
		}
		cmd = exec.Command("xdg-open", url)
	}
	apart(cmd)
	if cmd.Start() == nil {
		go cmd.Wait()
	}
}

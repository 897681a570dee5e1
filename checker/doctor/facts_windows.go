package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

func gather(root string) Facts {
	f := common(root)
	v := windows.RtlGetVersion()
	f.Kernel = fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
	_, err := exec.LookPath("wsl.exe")
	f.WSL = err == nil
	f.Memory = memory()
	f.Unicode = os.Getenv("WT_SESSION") != ""
	f.Color = f.Color && f.Unicode
	f.look("netstat", "ncat")
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		f.Virtual = "Wine"
	}
	return f
}

// memory asks GlobalMemoryStatusEx, which x/sys does not have.
func memory() int64 {
	status := struct {
		length, load                                                              uint32
		total, free, totalPage, freePage, totalVirtual, freeVirtual, freeExtended uint64
	}{}
	status.length = uint32(unsafe.Sizeof(status))
	// Call makes status escape, so it stays where it is until the call returns; nobody
	// keeps its address.
	ok, _, _ := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx").Call(uintptr(unsafe.Pointer(&status)))
	if ok == 0 {
		return 0
	}
	return int64(status.total)
}

// Command generate writes checker/catalogue/manifest.json from the lessons'
// folders. Run it by
//
//	go generate ./checker/catalogue
//
// after any change to a lesson's README headings, tests or skeleton.
package main

import (
	"log"
	"os"
	"path/filepath"

	"iolab/checker/catalogue"
	"iolab/checker/catalogue/scan"
)

func main() {
	log.SetFlags(0)
	dir, err := os.Getwd()
	if err == nil {
		dir, err = catalogue.Root(dir)
	}
	if err != nil {
		log.Fatal(err)
	}
	data, err := scan.JSON(dir)
	if err != nil {
		log.Fatal(err)
	}
	out := filepath.Join(dir, "checker/catalogue/manifest.json")
	if err := os.WriteFile(out, data, 0o644); err != nil {
		log.Fatal(err)
	}
}

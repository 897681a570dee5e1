package wine

import (
	"bytes"
	"encoding/binary"
)

// The Go runtime asks bcryptprimitives.dll for ProcessPrng when a program starts. Wine
// has it from version 9 on. For older ones the prefix gets a stand-in: a DLL without
// code, whose one export is a forwarder to advapi32's SystemFunction036, which does the
// same: it fills a buffer, whose address and length it is given, with random bytes.
const (
	standInName = "bcryptprimitives.dll"
	standInFunc = "ProcessPrng"
	forwardedTo = "advapi32.SystemFunction036"
)

// standIn is the DLL's file: headers, and one section with the export directory. The
// names of the fields are those of the "PE Format" specification.
func standIn() []byte {
	const (
		headerSize = 0x200  // of the file's headers: one FileAlignment
		section    = 0x1000 // RVA of the section: one SectionAlignment
		directory  = 40     // bytes of an export directory
		functions  = section + directory
		names      = functions + 4
		ordinals   = names + 4
		dllName    = ordinals + 2
		funcName   = dllName + uint32(len(standInName)) + 1
		forwarder  = funcName + uint32(len(standInFunc)) + 1
		end        = forwarder + uint32(len(forwardedTo)) + 1
	)
	var b bytes.Buffer
	put := func(fields ...any) {
		for _, f := range fields {
			_ = binary.Write(&b, binary.LittleEndian, f) // a bytes.Buffer does not fail
		}
	}

	put([]byte("MZ"), make([]byte, 58), uint32(64)) // the DOS header: all of it but e_lfanew is of no use any more
	put([]byte("PE\x00\x00"))
	put(uint16(0x8664), uint16(1), uint32(0), uint32(0), uint32(0), // Machine AMD64, NumberOfSections, TimeDateStamp, symbols
		uint16(240), uint16(0x2022)) // SizeOfOptionalHeader, Characteristics: DLL, LARGE_ADDRESS_AWARE, EXECUTABLE_IMAGE
	put(uint16(0x20b), uint16(0), uint32(0), uint32(headerSize), uint32(0), // Magic PE32+, linker version, sizes of code and data
		uint32(0), uint32(section), // AddressOfEntryPoint: there is none; BaseOfCode
		uint64(0x180000000), uint32(0x1000), uint32(headerSize), // ImageBase, SectionAlignment, FileAlignment
		uint16(6), uint16(0), uint16(0), uint16(0), uint16(6), uint16(0), uint32(0), // versions: system, image, subsystem
		uint32(section+0x1000), uint32(headerSize), uint32(0), uint16(2), uint16(0x100), // SizeOfImage, SizeOfHeaders, CheckSum, Subsystem, NX_COMPAT
		uint64(0x100000), uint64(0x1000), uint64(0x100000), uint64(0x1000), uint32(0), uint32(16)) // stack, heap, LoaderFlags, NumberOfRvaAndSizes
	// An export whose address lies inside the export directory is a forwarder.
	put(uint32(section), end-section, make([]byte, 15*8)) // the first of 16 directories is the export directory
	put([]byte(".edata\x00\x00"), end-section, uint32(section), uint32(headerSize), uint32(headerSize), make([]byte, 12), uint32(0x40000040))
	put(make([]byte, headerSize-b.Len()))

	put(uint32(0), uint32(0), uint32(0), uint32(dllName), uint32(1), uint32(1), uint32(1), // flags, time, version, Name, OrdinalBase, counts
		uint32(functions), uint32(names), uint32(ordinals))
	put(forwarder, funcName, uint16(0))
	put([]byte(standInName+"\x00"), []byte(standInFunc+"\x00"), []byte(forwardedTo+"\x00"))
	put(make([]byte, 2*headerSize-b.Len()))
	return b.Bytes()
}

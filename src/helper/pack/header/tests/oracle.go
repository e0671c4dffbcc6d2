// Writes the header of each entry that it is told of, as Go does with FormatPAX.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"time"
)

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	number := func() int64 {
		var n int64
		if err := binary.Read(in, binary.LittleEndian, &n); err != nil {
			panic(err)
		}
		return n
	}
	text := func() string {
		b := make([]byte, number())
		if _, err := io.ReadFull(in, b); err != nil {
			panic(err)
		}
		return string(b)
	}
	for count := number(); count > 0; count-- {
		h := &tar.Header{Format: tar.FormatPAX, Typeflag: byte(number()), Name: text(), Linkname: text()}
		h.Mode, h.Uid, h.Gid, h.Size = number(), int(number()), int(number()), number()
		seconds := number()
		h.ModTime = time.Unix(seconds, number())
		h.Devmajor, h.Devminor = number(), number()
		if records := number(); records > 0 {
			h.PAXRecords = map[string]string{}
			for ; records > 0; records-- {
				key := text()
				h.PAXRecords[key] = text()
			}
		}
		var buf bytes.Buffer
		length := int64(-1)
		if tar.NewWriter(&buf).WriteHeader(h) == nil {
			length = int64(buf.Len())
		} else {
			buf.Reset()
		}
		binary.Write(out, binary.LittleEndian, length)
		out.Write(buf.Bytes())
	}
	out.Flush()
}

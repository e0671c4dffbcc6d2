// Says for each pair of patterns and path what moby makes of them: 0 kept, 1 excluded, 2 refused.
package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/patternmatcher"
)

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	line := func() string {
		text, err := in.ReadString('\n')
		if err != nil {
			panic(err)
		}
		return strings.TrimSuffix(text, "\n")
	}
	number := func() int {
		n, err := strconv.Atoi(line())
		if err != nil {
			panic(err)
		}
		return n
	}
	for count := number(); count > 0; count-- {
		patterns := make([]string, number())
		for i := range patterns {
			// As what reads the file hands them on.
			pattern := line()
			if except := strings.TrimPrefix(pattern, "!"); except != pattern {
				pattern = "!" + filepath.Clean(except)
			}
			patterns[i] = pattern
		}
		verdict := byte('2')
		path := line()
		if excluded, err := patternmatcher.MatchesOrParentMatches(path, patterns); err == nil {
			verdict = '0'
			if excluded {
				verdict = '1'
			}
		}
		out.WriteByte(verdict)
	}
	out.Flush()
}

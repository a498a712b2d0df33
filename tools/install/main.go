// Command install builds the programs that nested modules pin, those that
// aren't in the cache yet, and prints the folder of each module's programs:
//
//	PATH=$(go run ./tools/install tools/proto):$PATH buf lint
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/parley-gateway/parley/tools/pinned"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, dir := range os.Args[1:] {
		bin, err := pinned.Build(ctx, dir, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, "install:", err)
			os.Exit(1)
		}
		fmt.Println(bin)
	}
}

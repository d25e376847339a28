package presence

import "github.com/skein-mesh/skein/pkg/daemon"

// Default returns a configuration that works on one machine.
func Default() daemon.Config { return daemon.Default("127.0.0.1:6000", "127.0.0.1:6001", 7947) }

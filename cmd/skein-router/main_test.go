package main

import (
	"testing"

	"github.com/skein-mesh/skein/tests/daemontest"
)

func TestProgram(t *testing.T) { daemontest.Test(t, run) }

package admit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Connect says who may open a socket.
type Connect string

// The ways to open a socket.
const (
	ConnectOpen    Connect = "open"    // everybody
	ConnectToken   Connect = "token"   // who has a good token
	ConnectHandler Connect = "handler" // whom the handler lets in
)

// Config of the gate of one mount.
type Config struct {
	CheckOrigin  []string `conf:"check-origin" usage:"origins of pages that may connect: own for the host they ask for, conn for its scheme and port too, off for all, handler to ask, or a list such as https://example.com,//*.example.org,file://"`
	Connect      Connect  `conf:"connect" usage:"who may open a socket: open, token or handler"`
	TokenParam   string   `conf:"token-param" usage:"param with the client's token, where phoenix.js's authToken is not used"`
	FilterParams []string `conf:"filter-params" usage:"words; values of params whose name contains one are not logged"`
}

// SetDefaults fills what is empty.
func (c *Config) SetDefaults() {
	if len(c.CheckOrigin) == 0 {
		c.CheckOrigin = []string{originOwn}
	}
	c.Connect = cmp.Or(c.Connect, ConnectOpen)
	c.TokenParam = cmp.Or(c.TokenParam, "token")
	if len(c.FilterParams) == 0 {
		c.FilterParams = []string{"password", "secret", "token", "apikey"}
	}
}

// Validate reports every problem at once.
func (c *Config) Validate() error {
	_, err := parseOrigins(c.CheckOrigin)
	errs := []error{err}
	if !slices.Contains([]Connect{ConnectOpen, ConnectToken, ConnectHandler}, c.Connect) {
		errs = append(errs, fmt.Errorf("connect: %q is none of open, token and handler", c.Connect))
	}
	if c.TokenParam == "" {
		errs = append(errs, errors.New("token-param: a name is required"))
	}
	if slices.Contains(c.FilterParams, "") {
		errs = append(errs, errors.New("filter-params: a word is empty"))
	}
	return errors.Join(errs...)
}

// AsksHandler reports whether a backend decides anything.
func (c *Config) AsksHandler() bool {
	return c.Connect == ConnectHandler || slices.Contains(c.CheckOrigin, originHandler)
}

package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/apikey"
)

func (a *app) keysAPICommand() *cobra.Command {
	var scopes, topics []string
	cmd := &cobra.Command{
		Use:   "api NAME --scopes SCOPE,...",
		Short: "Make an API key, and what to configure for it",
		Long: "Prints a new key, for the backend alone, and the element of api-keys that routers and presence instances\n" +
			"need to know it by. Scopes are " + strings.Join(apikey.Scopes(), ", ") + "; admin holds all others.",
		Example: "  skein keys api chat --scopes publish,subscribe --topics 'room:*'",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, sha := apikey.Make()
			made := apikey.Key{Name: args[0], SHA256: sha, Scopes: scopes, Topics: topics}
			if err := (apikey.List{APIKeys: []apikey.Key{made}}).Validate(); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.printAPIKey(key, made)
		},
	}
	cmd.Flags().StringSliceVar(&scopes, "scopes", nil, "what the key may do")
	cmd.Flags().StringSliceVar(&topics, "topics", nil, "topics the key is for, such as lobby or room:*; empty for all")
	return cmd
}

// madeKey is a key as it is printed.
type madeKey struct {
	Key    string   `json:"key"`
	Name   string   `json:"name"`
	SHA256 string   `json:"sha256"`
	Scopes []string `json:"scopes"`
	Topics []string `json:"topics,omitempty"`
}

func (a *app) printAPIKey(key string, made apikey.Key) error {
	if a.common.json() {
		return printJSON(a.Stdout, madeKey{key, made.Name, made.SHA256, made.Scopes, made.Topics})
	}
	fmt.Fprintf(a.Stdout, "Key, for %s alone; it is shown once:\n\n  %s\n\nIn the files of routers and presence instances:\n\n", made.Name, key)
	fmt.Fprintf(a.Stdout, "  api_keys:\n    - name: %s\n      sha256: %q\n      scopes: %s\n", quoted(made.Name), made.SHA256, yamlList(made.Scopes))
	if len(made.Topics) > 0 {
		fmt.Fprintf(a.Stdout, "      topics: %s\n", yamlList(made.Topics))
	}
	return nil
}

// quoted is text as JSON, which YAML is a superset of.
func quoted(s string) string {
	text, _ := json.Marshal(s) //nolint:errchkjson // a string
	return string(text)
}

func yamlList(items []string) string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = quoted(item)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

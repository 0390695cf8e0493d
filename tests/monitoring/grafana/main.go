// Reads a dashboard with Grafana's own types, strictly: fields that are unknown, missing or of another kind are errors.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(os.Args[1])
	stopOn(err)
	stopOn(new(dashboard.Dashboard).UnmarshalJSONStrict(text))
	found := dashboard.Dashboard{} // anew: the strict reader finds mistakes, and leaves panels empty
	stopOn(json.Unmarshal(text, &found))
	stopOn(found.Validate())
	stopOn(json.NewEncoder(os.Stdout).Encode(found))
}

func stopOn(err error) {
	if err != nil && err.Error() != "" { // an empty list of errors is none
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

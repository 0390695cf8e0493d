// Command judge says what Go's own code makes of files. It prints one line of JSON, {"error": "..."}, empty if all is well:
//
//	judge egress FILE                          kube-apiserver reads an EgressSelectorConfiguration, as at its start
//	judge certificate USAGE CA FILE [NAME]     crypto/x509 verifies FILE (the leaf first) for server or client, and its name
//	judge pair FILE KEY                        crypto/tls loads a certificate and its key
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"k8s.io/apiserver/pkg/server/egressselector"
)

func main() {
	if err := judge(os.Args[1:]); err != nil {
		json.NewEncoder(os.Stdout).Encode(map[string]string{"error": err.Error()})
		return
	}
	fmt.Println(`{"error": ""}`)
}

func judge(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "egress":
		return egress(args[1])
	case len(args) >= 4 && args[0] == "certificate":
		name := ""
		if len(args) > 4 {
			name = args[4]
		}
		return certificate(args[1], args[2], args[3], name)
	case len(args) == 3 && args[0] == "pair":
		_, err := tls.LoadX509KeyPair(args[1], args[2])
		return err
	}
	fmt.Fprintln(os.Stderr, "usage: judge egress FILE | certificate USAGE CA FILE [NAME] | pair FILE KEY")
	os.Exit(2)
	return nil
}

func egress(path string) (err error) {
	defer func() {
		if found := recover(); found != nil {
			err = fmt.Errorf("panic: %v", found)
		}
	}()
	config, err := egressselector.ReadEgressSelectorConfiguration(path)
	if err != nil {
		return err
	}
	if found := egressselector.ValidateEgressSelectorConfiguration(config); len(found) > 0 {
		return found.ToAggregate()
	}
	_, err = egressselector.NewEgressSelector(config)
	return err
}

func certificate(usage, caPath, path, name string) error {
	bundle, err := os.ReadFile(caPath)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return errors.New("no certificate in the CA bundle")
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	block, rest := pem.Decode(content)
	if block == nil {
		return errors.New("no PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	intermediates := x509.NewCertPool()
	intermediates.AppendCertsFromPEM(rest)
	usages := map[string]x509.ExtKeyUsage{"server": x509.ExtKeyUsageServerAuth, "client": x509.ExtKeyUsageClientAuth}
	options := x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: name}
	options.KeyUsages = []x509.ExtKeyUsage{usages[usage]}
	_, err = leaf.Verify(options)
	return err
}

// Package targetpb is the wire between consentd and its plugins: target.proto and the code generated
// from it. Plugin authors in Go import package sdk instead; authors in other languages start from the
// proto file.
package targetpb

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate

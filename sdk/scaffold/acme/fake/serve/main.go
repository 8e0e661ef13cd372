// Command serve runs the fake of Acme on this machine and prints what it holds after each request.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/consentd/consentd/sdk/scaffold/acme/fake"
)

const address = "127.0.0.1:8486"

func main() {
	vendor := fake.New()
	fmt.Println("Acme is at http://" + address)
	err := http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		vendor.ServeHTTP(w, r)
		people, _ := json.Marshal(vendor.People()) // plain data
		fmt.Printf("%s %s, and Acme holds %s\n", r.Method, r.URL.Path, people)
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

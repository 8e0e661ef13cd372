package dataverse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// maxOperations is what Dataverse takes in one batch.
const maxOperations = 1000

// operation is one request within a batch.
type operation struct {
	method string
	path   string // below the API's root, escaped, with its query
	// mustExist keeps a PATCH from creating a row.
	mustExist bool
	body      map[string]any
}

// run makes the operations in as few calls as it can and returns their answers in their order, which
// Dataverse promises. Operations outside of change sets are transactions of their own.
func (t *target) run(ctx context.Context, operations []operation) ([]*httpclient.Response, error) {
	var answers []*httpclient.Response
	for some := range slices.Chunk(operations, maxOperations) {
		body, contentType, err := t.write(some)
		if err != nil {
			return nil, err
		}
		res, err := t.client.Do(ctx, httpclient.Request{
			Method: http.MethodPost,
			Path:   t.root + "/$batch",
			Header: http.Header{"Content-Type": {contentType}, "Prefer": {"odata.continue-on-error"}},
			Body:   body,
		})
		if err != nil {
			return nil, err
		}
		if err := res.Err(); err != nil {
			return nil, err
		}
		parts, err := readParts(res)
		if err != nil {
			return nil, err
		}
		if len(parts) != len(some) {
			return nil, sdk.Retry("PART_COUNT_MISMATCH", "Dataverse answered %d operations of %d", len(parts), len(some)).Err()
		}
		answers = append(answers, parts...)
	}
	return answers, nil
}

// write makes the body of a batch. Its lines end in CRLF.
func (t *target) write(operations []operation) (body []byte, contentType string, err error) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for _, o := range operations {
		// Writing to a buffer does not fail.
		part, _ := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Transfer-Encoding": {"binary"}})
		fmt.Fprintf(part, "%s %s%s HTTP/1.1\r\nAccept: application/json\r\n", o.method, t.root, o.path)
		if o.mustExist {
			fmt.Fprint(part, "If-Match: *\r\n")
		}
		var data []byte
		if o.body != nil {
			if data, err = json.Marshal(o.body); err != nil {
				// The encoder's own error may quote a value.
				return nil, "", sdk.Rejected("INVALID_RECORD", "the record cannot be written as JSON").Err()
			}
			fmt.Fprintf(part, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(data))
		}
		fmt.Fprintf(part, "\r\n%s\r\n", data)
	}
	_ = w.Close()
	return out.Bytes(), "multipart/mixed; boundary=" + w.Boundary(), nil
}

// readParts takes the answer to a batch apart.
func readParts(res *httpclient.Response) ([]*httpclient.Response, error) {
	unreadable := sdk.Retry("UNREADABLE_ANSWER", "the answer to a batch is not one of the Dataverse Web API").Err()
	kind, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" {
		return nil, unreadable
	}
	var parts []*httpclient.Response
	for r := multipart.NewReader(bytes.NewReader(res.Body), params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return nil, unreadable
		}
		one, err := http.ReadResponse(bufio.NewReader(part), nil)
		if err != nil {
			return nil, unreadable
		}
		body, err := io.ReadAll(one.Body)
		if err != nil {
			return nil, unreadable
		}
		parts = append(parts, &httpclient.Response{Status: one.StatusCode, Header: one.Header, Body: body})
	}
}

package sim

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
)

const maxOperations = 1000

// batch makes the operations in their order, each a transaction of its own. Without the preference to go
// on, the first that fails is the answer to all.
func (s *Server) batch(r *http.Request) answer {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" {
		return refuse(http.StatusBadRequest, "0x80060888", "Invalid Content-Type header")
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil || strings.Contains(strings.ReplaceAll(string(raw), "\r\n", ""), "\n") {
		return refuse(http.StatusBadRequest, "0x80060888", "The lines of a batch end in CRLF")
	}
	operations, refused := operationsOf(raw, params["boundary"])
	switch {
	case refused != "":
		return refuse(http.StatusBadRequest, "0x80060888", "%s", refused)
	case len(operations) > maxOperations:
		return refuse(http.StatusBadRequest, "0x80060888", "The maximum number of requests in a batch is %d", maxOperations)
	}
	for _, o := range operations {
		for part := range s.faults.poison {
			if strings.Contains(address(o), part) {
				return refuse(http.StatusBadRequest, "0x80060888", "Error while parsing the batch at %s", part)
			}
		}
	}
	onward := strings.Contains(r.Header.Get("Prefer"), "odata.continue-on-error")
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	_ = w.SetBoundary("batchresponse_f44bd09d-573f-4a30-bca0-2e500ee7e139")
	status := http.StatusOK
	var lines []string
	for _, o := range operations {
		o.Host = r.Host
		a := s.operate(o)
		lines = append(lines, a.lines...)
		part, _ := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Transfer-Encoding": {"binary"}})
		a.writePart(part)
		if a.status >= 400 && !onward {
			status = a.status
			break
		}
	}
	_ = w.Close()
	return answer{status: status, body: out.Bytes(), lines: lines,
		header: http.Header{"Content-Type": {"multipart/mixed; boundary=" + w.Boundary()}}}
}

func (a answer) writePart(w io.Writer) {
	body, contentType := a.encode()
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nOData-Version: 4.0\r\n", a.status, http.StatusText(a.status))
	if contentType != "" {
		fmt.Fprintf(w, "Content-Type: %s\r\n", contentType)
	}
	_ = a.header.Write(w)
	fmt.Fprintf(w, "\r\n%s\r\n", body)
}

func operationsOf(raw []byte, boundary string) (operations []*http.Request, refused string) {
	for r := multipart.NewReader(bytes.NewReader(raw), boundary); ; {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return operations, ""
		}
		if err != nil {
			return nil, "The batch ends early"
		}
		if part.Header.Get("Content-Type") != "application/http" || part.Header.Get("Content-Transfer-Encoding") != "binary" {
			return nil, "An operation is application/http, binary"
		}
		data, _ := io.ReadAll(part)
		o, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return nil, "An operation is not an HTTP request"
		}
		body, _ := io.ReadAll(o.Body)
		o.Body = io.NopCloser(bytes.NewReader(body))
		operations = append(operations, o)
	}
}

// address is a request's method, path and query, unescaped.
func address(r *http.Request) string {
	return r.Method + " " + r.URL.Path + "?" + r.URL.Query().Encode()
}

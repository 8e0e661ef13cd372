package ruletest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The elements of JUnit's report, as CI systems read it: a suite for each file.
type (
	junitReport struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class    string         `xml:"classname,attr"`
		Name     string         `xml:"name,attr"`
		File     string         `xml:"file,attr"`
		Line     int            `xml:"line,attr"`
		Time     string         `xml:"time,attr"`
		Failures []junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report in JUnit's form.
func (r Report) WriteJUnit(w io.Writer) error {
	report := junitReport{Tests: len(r.Tests), Failures: r.Failed}
	var took float64
	for _, t := range r.Tests {
		if n := len(report.Suites); n == 0 || report.Suites[n-1].Name != t.File {
			report.Suites = append(report.Suites, junitSuite{Name: t.File})
			took = 0
		}
		suite := &report.Suites[len(report.Suites)-1]
		took += t.Took.Seconds()
		suite.Tests++
		suite.Time = seconds(took)
		c := junitCase{Class: t.File, Name: t.Name, File: t.File, Line: t.Line, Time: seconds(t.Took.Seconds())}
		if !t.Passed {
			suite.Failures++
			var lines []string
			for _, f := range t.Failures {
				lines = append(lines, f.Text()...)
			}
			c.Failures = []junitFailure{{t.Failures[0].Summary, strings.Join(lines, "\n")}}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(report); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

package sim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// Paths of the API. Those of permissions, transactions, configuration and citizens are the vendor's own published
// clients'; those of the effective permissions and of subscriptions are inferred.
const (
	effectivePath     = "/v1/permissions/effective"
	permissionsPath   = "/v1/permissions"
	transactionsPath  = "/v1/permissions/transactions"
	configurationPath = "/v1/permissions/configuration"
	citizensPath      = "/v1/citizens/"
	subscriptionsPath = "/v1/subscriptions"
)

// Configuration is what option ids mean (the shape is that of the vendor's published client of 2018).
type Configuration struct {
	Data     []Named  `json:"data"`
	Purposes []Named  `json:"purposes"`
	Parties  []Named  `json:"parties"`
	Options  []Option `json:"options"`
}

// Named is one of the parts that an option is made of.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Option is data, a purpose and a party.
type Option struct {
	ID        string `json:"id"`
	DataID    string `json:"dataId"`
	PurposeID string `json:"purposeId"`
	PartyID   string `json:"partyId"`
}

func (s *Sim) routes() {
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("POST /oauth/token", s.token)
	s.handle("GET "+effectivePath, s.listEffective)
	s.handle("GET "+permissionsPath, s.showPermissions)
	s.handle("GET "+configurationPath, s.showConfiguration)
	s.handle("POST "+transactionsPath, s.createTransaction)
	s.handle("GET "+citizensPath+"{id}", s.showCitizen)
	s.handle("POST "+subscriptionsPath, s.createSubscription)
	s.handle("GET "+subscriptionsPath, s.listSubscriptions)
	s.handle("GET "+subscriptionsPath+"/{id}", s.showSubscription)
	s.handle("PUT "+subscriptionsPath+"/{id}", s.putSubscription)
	s.handle("PATCH "+subscriptionsPath+"/{id}", s.patchSubscription)
	s.handle("DELETE "+subscriptionsPath+"/{id}", s.deleteSubscription)
}

func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	w.Header().Set("Date", s.now().Format(http.TimeFormat))
	s.mu.Unlock()
	s.mux.ServeHTTP(w, r)
}

// handle serves what needs a credential, one request at a time.
func (s *Sim) handle(pattern string, serve http.HandlerFunc) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests[pattern]++
		switch {
		case s.behaviour.Failing:
			fail(w, http.StatusServiceUnavailable, "the simulator was told to fail")
		case !s.admits(r):
			fail(w, http.StatusUnauthorized, "no valid credential")
		case s.tooFast():
			w.Header().Set("Retry-After", "1")
			fail(w, http.StatusTooManyRequests, "too many requests")
		default:
			serve(w, r)
		}
	})
}

func (s *Sim) admits(r *http.Request) bool {
	if key := r.Header.Get("X-API-Key"); key != "" {
		return key == APIKey
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return s.now().Before(s.tokens[token])
}

func (s *Sim) tooFast() bool {
	if second := time.Now().Unix(); second != s.second {
		s.second, s.inSecond = second, 0
	}
	s.inSecond++
	return s.behaviour.RateLimit > 0 && s.inSecond > s.behaviour.RateLimit
}

// listEffective is the state of every citizen that was updated in a window. What is documented: applicationId, since
// (inclusive), before (exclusive), externalRef (for which there is no paging), a page size of 1 to 100 that is 20
// by default, a start index, includeTotal (true by default), and that a window that is too large is a 504. The names
// limit and offset, and the shape of the answer, are inferred: a list of what webhooks say, without sentAt.
func (s *Sim) listEffective(w http.ResponseWriter, r *http.Request) {
	q, now := r.URL.Query(), s.now()
	if q.Get("applicationId") != s.options.Application {
		fail(w, http.StatusForbidden, "no such application")
		return
	}
	asOf := now.Add(-s.behaviour.Lag)
	if ref := q.Get("externalRef"); ref != "" {
		items := []consent.State{}
		if c := s.byRef[ref]; c != nil {
			items = append(items, s.effective(c, asOf, now))
		}
		write(w, http.StatusOK, map[string]any{"items": items})
		return
	}
	since, ok := instant(w, q.Get("since"), time.Unix(0, 0))
	if !ok {
		return
	}
	before, ok := instant(w, q.Get("before"), now)
	if !ok {
		return
	}
	offset, limit, ok := paging(w, r)
	if !ok {
		return
	}
	found := slices.Clone(s.order)
	found = slices.DeleteFunc(found, func(c *citizen) bool {
		return c.deleted || c.updated.Before(since) || !c.updated.Before(before) || c.updated.After(asOf)
	})
	if s.behaviour.MaxWindow > 0 && len(found) > s.behaviour.MaxWindow {
		fail(w, http.StatusGatewayTimeout, "upstream request timeout")
		return
	}
	answer := map[string]any{}
	if q.Get("includeTotal") != "false" && !s.behaviour.NoTotal {
		answer["total"] = len(found)
	}
	items := []consent.State{}
	for _, c := range found[min(offset, len(found)):min(offset+limit, len(found))] {
		items = append(items, s.effective(c, asOf, now))
	}
	answer["items"] = items
	write(w, http.StatusOK, answer)
}

// showPermissions is of one citizen, by either id. That somebody unknown is a 404 is inferred.
func (s *Sim) showPermissions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c := s.citizens[q.Get("citizenId")]
	if ref := q.Get("externalRef"); ref != "" {
		by := s.byRef[ref]
		if c != nil && by != c {
			fail(w, http.StatusBadRequest, "citizenId and externalRef are of two citizens")
			return
		}
		c = by
	}
	if c == nil || c.deleted {
		fail(w, http.StatusNotFound, "no such citizen")
		return
	}
	now := s.now()
	write(w, http.StatusOK, s.effective(c, now.Add(-s.behaviour.Lag), now))
}

func (s *Sim) showConfiguration(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, s.options.Configuration)
}

// showCitizen has the shape of the vendor's published client of 2018. That somebody unknown or deleted is a 404 is
// inferred.
func (s *Sim) showCitizen(w http.ResponseWriter, r *http.Request) {
	c := s.citizens[r.PathValue("id")]
	if c == nil || c.deleted {
		fail(w, http.StatusNotFound, "no such citizen")
		return
	}
	write(w, http.StatusOK, map[string]any{"citizenId": c.id, "applicationDetails": []any{map[string]any{
		"applicationId": s.options.Application, "externalRef": c.ref, "email": c.email,
	}}})
}

// createTransaction takes what the vendor's published examples send.
func (s *Sim) createTransaction(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ExternalRef string    `json:"externalRef"`
		ObtainedAt  time.Time `json:"obtainedAt"`
		Changes     []struct {
			OptionType, OptionID, Justification, State string
			ValidUntil                                 time.Time
		} `json:"changes"`
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.ExternalRef == "" || len(in.Changes) == 0 {
		fail(w, http.StatusBadRequest, "externalRef or changes are missing")
		return
	}
	var changes []Change
	for _, c := range in.Changes {
		if !slices.Contains(states[c.Justification], c.State) {
			fail(w, http.StatusBadRequest, "this justification has no such state")
			return
		}
		changes = append(changes, Change{Type: c.OptionType, Option: c.OptionID, Justification: c.Justification, State: c.State, ObtainedAt: in.ObtainedAt, ValidUntil: c.ValidUntil})
	}
	c := s.add(in.ExternalRef)
	write(w, http.StatusCreated, map[string]string{"transactionId": s.record(c, changes), "citizenId": c.id})
}

// states are those of each justification (mylifedigital.readme.io/docs/consentric-data).
var states = map[string][]string{
	"consent":             {"GRANTED", "DENIED", "PENDING"},
	"legitimate-interest": {"CLAIMED", "OBJECTED", "OBJECTION_UPHELD"},
	"contract":            {"CLAIMED"}, "public-interest": {"CLAIMED"}, "vital-interest": {"CLAIMED"}, "legal-obligation": {"CLAIMED"},
}

func instant(w http.ResponseWriter, text string, otherwise time.Time) (time.Time, bool) {
	if text == "" {
		return otherwise, true
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		fail(w, http.StatusBadRequest, "not an ISO 8601 time")
	}
	return t, err == nil
}

func paging(w http.ResponseWriter, r *http.Request) (offset, limit int, ok bool) {
	number := func(name string, otherwise, least, most int) int {
		text := r.URL.Query().Get(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return -1
		}
		return n
	}
	offset, limit = number("offset", 0, 0, 1<<30), number("limit", 20, 1, 100)
	if offset < 0 || limit < 0 {
		fail(w, http.StatusBadRequest, "offset must be from 0, limit from 1 to 100")
		return 0, 0, false
	}
	return offset, limit, true
}

func fail(w http.ResponseWriter, status int, why string) {
	write(w, status, map[string]string{"message": why})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

package admin

import (
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/consentd/consentd/core/store"
)

func (h *handler) citizenReceipts(w http.ResponseWriter, r *http.Request) {
	source, id, q := r.PathValue("source"), r.PathValue("id"), r.URL.Query()
	after, limit, err := paging(r)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	a := h.ofCitizen(source, id)
	a.Target, a.Rule = q.Get("target"), q.Get("rule")
	h.audited(w, r, a, func() (any, int, error) {
		receipts, err := h.Store.Receipts(r.Context(), source, id)
		receipts = slices.DeleteFunc(receipts, func(p store.Receipt) bool {
			return p.ID <= after || a.Target != "" && p.Target != a.Target || a.Rule != "" && p.Rule != a.Rule
		})
		receipts, more := cut(receipts, limit)
		out := receiptPage(receipts)
		if more {
			out.Next = receipts[len(receipts)-1].ID
		}
		return out, len(receipts), err
	})
}

func (h *handler) listReceipts(w http.ResponseWriter, r *http.Request) {
	after, limit, err := paging(r)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	h.audited(w, r, Action{}, func() (any, int, error) {
		receipts, err := h.Store.ListReceipts(r.Context(), after, limit+1)
		receipts, more := cut(receipts, limit)
		out := receiptPage(receipts)
		if more {
			out.Next = receipts[len(receipts)-1].ID
		}
		return out, len(receipts), err
	})
}

func receiptPage(receipts []store.Receipt) Receipts {
	out := Receipts{Receipts: []Receipt{}}
	for _, p := range receipts {
		out.Receipts = append(out.Receipts, Receipt{
			ID: p.ID, Rule: p.Rule, Target: p.Target, Version: p.Version, Withdrawal: p.Withdrawal, Outcome: p.Outcome,
			SentAt: p.SentAt, Received: p.Received, Confirmed: p.Confirmed, Digest: hex.EncodeToString(p.Digest),
			Plugin: p.Plugin, Reference: p.Reference, Transactions: p.Transactions, Config: p.Config,
			Subject: hex.EncodeToString(p.Subject), Hash: hex.EncodeToString(p.Hash),
		})
	}
	return out
}

func (h *handler) verifyReceipts(w http.ResponseWriter, r *http.Request) {
	c, err := h.Store.VerifyReceipts(r.Context())
	h.answer(w, Chain{c.Receipts, hex.EncodeToString(c.Head), c.Broken, c.Problem, c.Pruned}, err)
}

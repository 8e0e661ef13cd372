package admin

import (
	"encoding/hex"
	"net/http"

	"github.com/consentd/consentd/core/store"
)

func (h *handler) citizenReceipts(w http.ResponseWriter, r *http.Request) {
	receipts, err := h.Store.Receipts(r.Context(), r.PathValue("source"), r.PathValue("id"))
	h.answer(w, receiptPage(receipts, 0), err)
}

func (h *handler) listReceipts(w http.ResponseWriter, r *http.Request) {
	after, limit, err := paging(r)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	receipts, err := h.Store.ListReceipts(r.Context(), after, limit)
	h.answer(w, receiptPage(receipts, limit), err)
}

func receiptPage(receipts []store.Receipt, limit int) Receipts {
	out := Receipts{Receipts: []Receipt{}}
	for _, p := range receipts {
		out.Receipts = append(out.Receipts, Receipt{
			ID: p.ID, Rule: p.Rule, Target: p.Target, Version: p.Version, Withdrawal: p.Withdrawal, Outcome: p.Outcome,
			SentAt: p.SentAt, Received: p.Received, Confirmed: p.Confirmed, Digest: hex.EncodeToString(p.Digest),
			Plugin: p.Plugin, Reference: p.Reference, Config: p.Config,
			Subject: hex.EncodeToString(p.Subject), Hash: hex.EncodeToString(p.Hash),
		})
	}
	if limit > 0 && len(receipts) == limit {
		out.Next = receipts[len(receipts)-1].ID
	}
	return out
}

func (h *handler) verifyReceipts(w http.ResponseWriter, r *http.Request) {
	c, err := h.Store.VerifyReceipts(r.Context())
	h.answer(w, Chain{c.Receipts, hex.EncodeToString(c.Head), c.Broken, c.Problem}, err)
}

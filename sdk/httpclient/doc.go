// Package httpclient is the edge between a plugin and its vendor's HTTP API. With it a vendor's plugin is
// little more than paths, the mapping of fields, and what the vendor's errors mean. It is apart from
// package sdk because a target need not speak HTTP.
//
// A [Client] is made once for a target, from [Options] that say what the vendor is like. It makes one
// exchange for each [Client.Do] and gives back the whole answer:
//
//   - It puts the credentials on: a key, or an access token that it fetches, holds for all callers, renews
//     before its end, and renews once for all of them when the vendor refuses it.
//   - It keeps to the vendor's limits: calls at once, calls a second, and what the rate headers say.
//   - It bounds answers and requests, unpacks gzip, follows no redirect and passes the trace on.
//   - Its errors hold neither an address nor a body, since either may hold a key or a person.
//
// It does not retry, for the host does, and knows the whole backlog.
//
// Every failure ends as an [sdk.Outcome]. A call that brought no answer has an error for [sdk.FromError];
// an answer has [Response.Outcome], or [Response.Err] for code that wants one way to fail. What the
// vendor means differently from HTTP stands in one place, Options.Classify:
//
//	func classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
//		var p struct{ Code, Field string }
//		_ = res.Decode(&p) // an answer that is not JSON has no code
//		switch p.Code {
//		case "daily_limit": // 403, where others say 429
//			return sdk.Throttled(time.Hour, "DAILY_LIMIT", "the account's calls are used up for today")
//		case "unknown_field":
//			return sdk.Unauthorized("UNKNOWN_FIELD", "the account has no field %s", httpclient.Word(p.Field))
//		}
//		return o
//	}
//
// For vendors that take many records in one call see package batch.
package httpclient

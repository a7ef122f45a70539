package fastlane

import "bytes"

const (
	maxURI    = 1024
	maxFields = 48
)

// meaning is what a known header field is to us.
type meaning uint8

const (
	unknown   meaning = iota
	ignored           // does not change the answer
	host              // must be there once
	accept            // selects the format
	keepAlive         // must not say anything else
	forwarded         // a proxy speaks for another
)

// known lists the only header fields with which a request is plain. Whatever
// else is sent (conditions, ranges, credentials, an Origin, bodies, upgrades)
// is for net/http.
var known = map[string]meaning{
	"host": host, "accept": accept, "connection": keepAlive,
	"user-agent": ignored, "accept-encoding": ignored, "accept-language": ignored, "referer": ignored, "cookie": ignored, "dnt": ignored,
	"cache-control": ignored, "pragma": ignored, "priority": ignored, "te": ignored, "upgrade-insecure-requests": ignored, "save-data": ignored,
	"sec-fetch-dest": ignored, "sec-fetch-mode": ignored, "sec-fetch-site": ignored, "sec-fetch-user": ignored,
	"sec-ch-ua": ignored, "sec-ch-ua-mobile": ignored, "sec-ch-ua-platform": ignored, "sec-gpc": ignored,
	"x-forwarded-for": forwarded, "x-forwarded-host": forwarded, "x-forwarded-proto": forwarded, "x-real-ip": forwarded, "forwarded": forwarded, "via": forwarded,
}

const longestKnown = 32

var (
	endOfHeader = []byte("\r\n\r\n")
	endOfLine   = []byte("\r\n")
	version     = []byte(" HTTP/1.1")
)

// parse reads a plain request at the start of b and tells its length. It
// refuses whatever net/http might read in another way.
func parse(b []byte) (r Request, size int, ok bool) {
	end := bytes.Index(b, endOfHeader)
	if end < 0 {
		return r, 0, false
	}
	line, fields, _ := bytes.Cut(b[:end+2], endOfLine)
	if !r.line(line) || !r.fields(fields) {
		return r, 0, false
	}
	return r, end + len(endOfHeader), true
}

// line reads "GET /images/… HTTP/1.1".
func (r *Request) line(line []byte) bool {
	target, ok := bytes.CutPrefix(line, []byte("GET "))
	if !ok {
		if target, ok = bytes.CutPrefix(line, []byte("HEAD ")); !ok {
			return false
		}
		r.Head = true
	}
	target, ok = bytes.CutSuffix(target, version)
	if !ok || len(target) == 0 || len(target) > maxURI || target[0] != '/' {
		return false
	}
	for i, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' || c == '%' && !escape(target[i:]) {
			return false
		}
	}
	r.URI = string(target)
	return true
}

// escape tells whether b begins with an escape that net/http can decode.
func escape(b []byte) bool {
	return len(b) > 2 && hex(b[1]) && hex(b[2])
}

func hex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// fields reads the header fields, each with its CRLF.
func (r *Request) fields(b []byte) bool {
	hosts, accepts := 0, 0
	for n := 0; len(b) > 0; n++ {
		line, rest, found := bytes.Cut(b, endOfLine)
		name, value, colon := bytes.Cut(line, []byte(":"))
		if !found || !colon || n == maxFields || !printable(value) {
			return false
		}
		b = rest
		value = bytes.Trim(value, " \t")
		switch meaningOf(name) {
		case unknown:
			return false
		case host:
			hosts++
			r.Host = string(value)
		case accept:
			accepts++
			r.Accept = string(value)
		case keepAlive:
			if !bytes.EqualFold(value, []byte("keep-alive")) {
				return false
			}
		case forwarded:
			r.Forwarded = true
		}
	}
	return hosts == 1 && accepts <= 1 && plainHost(r.Host)
}

// meaningOf looks a field name up; only letters and dashes can be known.
func meaningOf(name []byte) meaning {
	var lower [longestKnown]byte
	if len(name) > len(lower) {
		return unknown
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return known[string(lower[:len(name)])]
}

// printable refuses control characters; net/http judges those.
func printable(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// plainHost takes names, addresses and a port.
func plainHost(h string) bool {
	for i := range len(h) {
		c := h[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == ':' || c == '[' || c == ']' || c == '_') {
			return false
		}
	}
	return h != ""
}

// single tells bytes that are exactly one request which has no body: after it
// net/http holds nothing more and waits for the next one.
func single(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("GET ")) && !bytes.HasPrefix(b, []byte("HEAD ")) {
		return false
	}
	if end := bytes.Index(b, endOfHeader); end < 0 || end+len(endOfHeader) != len(b) {
		return false
	}
	// A line that ends in a bare LF, or an empty line made of them, would put
	// the end of the header elsewhere.
	if bytes.Count(b, []byte("\n")) != bytes.Count(b, endOfLine) {
		return false
	}
	lower := bytes.ToLower(b)
	for _, name := range []string{"\ncontent-length", "\ntransfer-encoding", "\nexpect", "\nupgrade"} {
		if bytes.Contains(lower, []byte(name)) {
			return false
		}
	}
	return true
}

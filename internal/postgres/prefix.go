package postgres

import "unicode/utf8"

// prefixRange gives the first text with a prefix, and what sorts right after
// every one ("" is none). The order of bytes in UTF-8 is that of code points, so
// a prefix that ends within a character is a range too. ok is false where no
// text can have the prefix.
func prefixRange(prefix string) (first, end string, ok bool) {
	head := len(prefix)
	for n := 1; n < utf8.UTFMax && n <= len(prefix); n++ {
		if c := prefix[len(prefix)-n]; utf8.RuneStart(c) {
			if !utf8.FullRuneInString(prefix[len(prefix)-n:]) {
				head = len(prefix) - n
			}
			break
		}
	}
	if !storable(prefix[:head]) {
		return "", "", false
	}
	if head == len(prefix) {
		return prefix, after(prefix), true
	}
	low, high := lowest(prefix[head:]), highest(prefix[head:])
	if low == "" || high == "" {
		return "", "", false
	}
	return prefix[:head] + low, after(prefix[:head] + high), true
}

// after is what sorts right after all texts with a prefix: the prefix with its
// last character counted up. "" is none.
func after(prefix string) string {
	runes := []rune(prefix)
	for i := len(runes) - 1; i >= 0; i-- {
		if runes[i] == utf8.MaxRune {
			continue
		}
		runes[i]++
		if !utf8.ValidRune(runes[i]) { // a surrogate
			runes[i] = 0xe000
		}
		return string(runes[:i+1])
	}
	return ""
}

// lowest and highest complete the beginning of a character; "" is none.
func lowest(part string) string { return complete(part, 0x80, 1) }

func highest(part string) string { return complete(part, 0xbf, -1) }

// complete tries the next byte from one on, in steps, with the rest alike: only
// the second byte of a character is bounded by the first.
func complete(part string, from byte, step int) string {
	for next := int(from); next >= 0x80 && next <= 0xbf; next += step {
		text := part + string([]byte{byte(next)})
		for len(text) < utf8.UTFMax && !utf8.FullRuneInString(text) {
			text += string([]byte{from})
		}
		if utf8.ValidString(text) {
			return text
		}
	}
	return ""
}

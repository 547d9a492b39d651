package agenda

import "strconv"

// paletteColours are the colours that agenda.css knows by number, as people's
// other applications would choose them.
var paletteColours = []string{"#a5382a", "#2f6db5", "#1f7a4d", "#8a5a00", "#7a4fa3", "#0f7c86", "#b0467e", "#5b6472"}

// palette picks the nearest colour for a calendar that has one, the next in
// turn for one that has none: every shade on the page is legible that way.
func palette(colour string, turn int) int {
	red, green, blue, ok := rgb(colour)
	if !ok {
		return turn % len(paletteColours)
	}
	best, least := 0, int(^uint(0)>>1)
	for i, c := range paletteColours {
		r, g, b, _ := rgb(c)
		if d := (red-r)*(red-r)*3 + (green-g)*(green-g)*6 + (blue-b)*(blue-b)*2; d < least {
			best, least = i, d
		}
	}
	return best
}

func rgb(colour string) (r, g, b int, ok bool) {
	if len(colour) != 7 {
		return 0, 0, 0, false
	}
	n, err := strconv.ParseUint(colour[1:], 16, 32)
	return int(n >> 16), int(n >> 8 & 255), int(n & 255), err == nil
}

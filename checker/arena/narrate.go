package arena

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"iolab/checker/gameserver"
)

// plot is what has happened so far, as far as the sentence above the world needs it.
type plot struct {
	tick uint32 // of the newest snapshot

	broken  error  // what the spectator cannot make sense of
	blind   error  // why its connection has ended
	botless string // how the bots' process has ended; "": it has not
	stall   *stall
	freeze  *freeze

	dropped, overruns recent

	said            string // the sentence, its topic and mood, and when it was made
	topic, mood     string
	saidAt          time.Time
	firstMeasuredAt time.Time
}

// stall is a time for which the loop is held up.
type stall struct {
	at    time.Time
	lasts time.Duration
	stats gameserver.Stats // before
}

// freeze is a time in which clients do not read.
type freeze struct {
	since   time.Time
	clients []uint32
	stats   gameserver.Stats // before
}

// recent counts what happened in the last seconds.
type recent struct {
	n    uint64
	last time.Time
}

const lately = 5 * time.Second

func (r *recent) add(now time.Time, n uint64) {
	if now.Sub(r.last) > lately {
		r.n = 0
	}
	if n > 0 {
		r.n, r.last = r.n+n, now
	}
}

func (r *recent) count(now time.Time) uint64 {
	if now.Sub(r.last) > lately {
		return 0
	}
	return r.n
}

func (p *plot) stalled(now time.Time, d time.Duration, s gameserver.Stats) {
	p.stall = &stall{now, d, s}
}

// froze notes which clients are frozen.
func (p *plot) froze(now time.Time, before, frozen []uint32, s gameserver.Stats) {
	switch {
	case len(frozen) == 0:
		p.freeze = nil
	case p.freeze == nil || !slices.Equal(before, frozen) && len(frozen) > len(p.freeze.clients):
		p.freeze = &freeze{now, slices.Clone(frozen), s}
	}
}

func (p *plot) measured(now time.Time, before, s gameserver.Stats) {
	if p.firstMeasuredAt.IsZero() {
		p.firstMeasuredAt = now
	}
	p.dropped.add(now, s.Dropped-before.Dropped)
	p.overruns.add(now, s.Overruns-before.Overruns)
}

// scene is how things stand.
type scene struct {
	engine  string
	running bool
	failed  error
	bots    botReport
	stats   Stats
	last    gameserver.Stats
}

// sentencesEvery is how often a sentence with a number in it changes.
const sentencesEvery = 300 * time.Millisecond

// narrate says what is being seen. The mood is "" if all is well, "look" if there is
// something to see, and "bad" if something is wrong.
func (p *plot) narrate(now time.Time, s scene) (topic, mood, say string) {
	topic, mood, say = p.sentence(now, s)
	if topic == p.topic && now.Sub(p.saidAt) < sentencesEvery {
		return p.topic, p.mood, p.said
	}
	p.topic, p.mood, p.said, p.saidAt = topic, mood, say, now
	return topic, mood, say
}

func (p *plot) sentence(now time.Time, s scene) (topic, mood, say string) {
	budget := 1000 / float64(max(1, s.last.Rate))
	switch {
	case !s.running && s.failed != nil:
		return "failed", "bad", "There is no server until you restart it: " + s.failed.Error()
	case !s.running:
		return "starting", "", "The server starts on " + s.engine + "."
	case p.broken != nil:
		return "broken", "bad", "The spectator cannot make sense of what the server sends: " + p.broken.Error() + "."
	case p.blind != nil:
		return "blind", "bad", "The picture stands still: the spectator’s connection to the server has ended (" + p.blind.Error() + "). The numbers go on. Restart the server to see it move again."
	case p.botless != "":
		return "botless", "bad", "The bots’ process has ended (" + p.botless + "), and the server goes on without them. Set the number of bots, and it starts anew."
	case p.stall != nil && now.Sub(p.stall.at) < p.stall.lasts+lately:
		return "stall", "look", p.sayStall(now, s)
	case p.freeze != nil:
		return "freeze", "look", p.sayFreeze(now, s)
	case s.bots.Joined < s.bots.Wanted && s.bots.Error != "":
		return "joining", "bad", fmt.Sprintf("%s of %s have joined; the next one cannot: %s.", whole(s.bots.Joined), count(s.bots.Wanted, "bot", "bots"), s.bots.Error)
	case s.bots.Joined < s.bots.Wanted:
		return "joining", "", fmt.Sprintf("%s of %s have joined.", whole(s.bots.Joined), count(s.bots.Wanted, "bot", "bots"))
	case p.dropped.count(now) > 0:
		return "dropped", "bad", fmt.Sprintf("%s dropped in the last seconds: the loop was more than its clamp behind%s.", count(p.dropped.count(now), "tick was", "ticks were"), busy(s))
	case p.overruns.count(now) > 0:
		return "overruns", "look", fmt.Sprintf("%s longer than the %s ms there are for it in the last seconds%s.", count(p.overruns.count(now), "tick took", "ticks took"), short(budget), busy(s))
	case s.stats.Rate == 0:
		return "starting", "", "The server has started on " + s.engine + "."
	}
	return "steady", "", fmt.Sprintf("%s, %.0f ticks a second. A tick takes %s ms of the %s it has, and begins %s ms late at most.",
		count(s.last.Game.Players, "player", "players"), s.stats.Rate, short(s.stats.Tick), short(budget), short(s.stats.Latest))
}

// busy explains by processor time what can be explained by it.
func busy(s scene) string {
	switch {
	case s.stats.CPU < 0: // cannot be seen here
		return ""
	case s.stats.CPU > 85:
		return fmt.Sprintf(", and the server uses %.0f %% of a processor", s.stats.CPU)
	}
	return "; the server uses less than a processor, so it waited: for one, or in a call that blocks"
}

func (p *plot) sayStall(now time.Time, s scene) string {
	due := int(math.Round(p.stall.lasts.Seconds() * float64(max(1, s.last.Rate))))
	if s.last.Ticks == p.stall.stats.Ticks || now.Sub(p.stall.at) < p.stall.lasts {
		return fmt.Sprintf("The loop is held up for %v: nothing is read and nothing is sent, and %s will be due at its end.", p.stall.lasts, count(due, "tick", "ticks"))
	}
	dropped := int(s.last.Dropped - p.stall.stats.Dropped)
	if dropped == 0 {
		return fmt.Sprintf("The loop was held up for %v: the %s that were due at its end were made at once.", p.stall.lasts, count(due, "tick", "ticks"))
	}
	return fmt.Sprintf("The loop was held up for %v: of the %s due at its end it dropped %s and made up for the rest. Without that clamp it would run after them all: the spiral.",
		p.stall.lasts, count(due, "tick", "ticks"), whole(dropped))
}

func (p *plot) sayFreeze(now time.Time, s scene) string {
	f := p.freeze
	who, has, it := count(len(f.clients), "client", "clients"), "have", "them"
	if len(f.clients) == 1 {
		who, has, it = fmt.Sprintf("Client %d", f.clients[0]), "has", "it"
	}
	replaced := s.last.Game.Replaced - f.stats.Game.Replaced
	dropped := int(s.last.Game.Slow - f.stats.Game.Slow)
	seconds := now.Sub(f.since).Seconds()
	switch {
	case dropped >= len(f.clients):
		were := "was"
		if len(f.clients) > 1 {
			were = "were"
		}
		return fmt.Sprintf("%s did not read: %s replaced by later ones, then %s %s dropped. Thaw, and %s back.", who, count(replaced, "snapshot was", "snapshots were"),
			map[bool]string{true: "it", false: "they"}[len(f.clients) == 1], were, map[bool]string{true: "it comes", false: "they come"}[len(f.clients) == 1])
	case dropped > 0:
		return fmt.Sprintf("%s %s not read for %.1f s: %s replaced, and %s of %s dropped.", who, has, seconds, count(replaced, "snapshot", "snapshots"), whole(dropped), it)
	case replaced == 0:
		return fmt.Sprintf("%s %s not read for %.1f s: what was sent lies in the kernel’s buffers, and is not acknowledged.", who, has, seconds)
	}
	return fmt.Sprintf("%s %s not read for %.1f s: %s replaced by later ones, so nothing piles up for %s.", who, has, seconds, count(replaced, "snapshot", "snapshots"), it)
}

// number is what is counted.
type number interface{ ~int | ~uint64 }

// count is n with the word for it.
func count[N number](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return whole(n) + " " + many
}

// whole is n with commas.
func whole[N number](n N) string {
	s := strconv.FormatUint(uint64(max(n, 0)), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short is x with as many digits as matter.
func short(x float64) string {
	if x >= 10 {
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

// some names a few players.
func some(ids []uint32) string {
	if len(ids) == 0 {
		return "none has joined yet"
	}
	var names []string
	for _, id := range ids[:min(len(ids), 5)] {
		names = append(names, strconv.Itoa(int(id)))
	}
	return "there are " + strings.Join(names, ", ") + " and others"
}

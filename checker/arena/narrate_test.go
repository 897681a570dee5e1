package arena

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"iolab/checker/gameserver"
)

// stats is a line of the server's.
func stats(ticks, dropped, replaced, slow uint64) gameserver.Stats {
	s := gameserver.Stats{Rate: 60, Ticks: ticks, Dropped: dropped}
	s.Game.Players, s.Game.Replaced, s.Game.Slow = 1000, replaced, slow
	return s
}

func TestTheSentenceSaysWhatIsSeen(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	at := func(d time.Duration) time.Time { return begin.Add(d) }
	steady := scene{engine: "solutions/epoll-et", running: true, bots: botReport{Wanted: 1000, Joined: 1000},
		stats: Stats{Rate: 60, Tick: 2.134, Latest: .051, CPU: 40}, last: stats(600, 0, 0, 0)}
	with := func(change func(*scene)) scene {
		s := steady
		change(&s)
		return s
	}
	frozen := func(p *plot, ids ...uint32) { p.froze(begin, nil, ids, steady.last) }
	for _, c := range []struct {
		topic, mood, say string
		before           func(*plot)
		now              time.Duration
		scene            scene
	}{
		{"steady", "", "1,000 players, 60 ticks a second. A tick takes 2.13 ms of the 16.7 it has, and begins 0.05 ms late at most.", nil, 0, steady},
		{"starting", "", "The server starts on solutions/epoll-et.", nil, 0, with(func(s *scene) { s.running = false })},
		{"failed", "bad", "There is no server until you restart it: it is broken", nil, 0, with(func(s *scene) { s.running = false; s.failed = errors.New("it is broken") })},
		{"joining", "", "412 of 1,000 bots have joined.", nil, 0, with(func(s *scene) { s.bots.Joined = 412 })},
		{"joining", "bad", "1 of 2 bots have joined; the next one cannot: the server is full.", nil, 0, with(func(s *scene) { s.bots = botReport{Wanted: 2, Joined: 1, Error: "the server is full"} })},

		{"freeze", "look", "Client 17 has not read for 0.5 s: what was sent lies in the kernel’s buffers, and is not acknowledged.",
			func(p *plot) { frozen(p, 17) }, 500 * time.Millisecond, steady},
		{"freeze", "look", "Client 17 has not read for 2.3 s: 41 snapshots replaced by later ones, so nothing piles up for it.",
			func(p *plot) { frozen(p, 17) }, 2300 * time.Millisecond, with(func(s *scene) { s.last = stats(700, 0, 41, 0) })},
		{"freeze", "look", "Client 17 did not read: 122 snapshots were replaced by later ones, then it was dropped. Thaw, and it comes back.",
			func(p *plot) { frozen(p, 17) }, 5 * time.Second, with(func(s *scene) { s.last = stats(900, 0, 122, 1) })},
		{"freeze", "look", "2 clients have not read for 2.0 s: 9 snapshots replaced, and 1 of them dropped.",
			func(p *plot) { frozen(p, 17, 18) }, 2 * time.Second, with(func(s *scene) { s.last = stats(900, 0, 9, 1) })},
		{"freeze", "look", "2 clients did not read: 9 snapshots were replaced by later ones, then they were dropped. Thaw, and they come back.",
			func(p *plot) { frozen(p, 17, 18) }, 2 * time.Second, with(func(s *scene) { s.last = stats(900, 0, 9, 2) })},
		{"steady", "", "", func(p *plot) { frozen(p, 17); p.froze(begin, []uint32{17}, nil, steady.last) }, 2 * time.Second, steady},

		{"stall", "look", "The loop is held up for 500ms: nothing is read and nothing is sent, and 30 ticks will be due at its end.",
			func(p *plot) { p.stalled(begin, 500*time.Millisecond, steady.last) }, 100 * time.Millisecond, steady},
		{"stall", "look", "The loop was held up for 500ms: of the 30 ticks due at its end it dropped 25 and made up for the rest. Without that clamp it would run after them all: the spiral.",
			func(p *plot) { p.stalled(begin, 500*time.Millisecond, steady.last) }, time.Second, with(func(s *scene) { s.last = stats(640, 25, 0, 0) })},
		{"stall", "look", "The loop was held up for 50ms: the 3 ticks that were due at its end were made at once.",
			func(p *plot) { p.stalled(begin, 50*time.Millisecond, steady.last) }, time.Second, with(func(s *scene) { s.last = stats(640, 0, 0, 0) })},
		{"steady", "", "", func(p *plot) { p.stalled(begin, 500*time.Millisecond, steady.last) }, 7 * time.Second, steady},

		{"dropped", "bad", "7 ticks were dropped in the last seconds: the loop was more than its clamp behind, and the server uses 97 % of a processor.",
			func(p *plot) { p.measured(begin, stats(500, 0, 0, 0), stats(500, 7, 0, 0)) }, time.Second, with(func(s *scene) { s.stats.CPU = 97 })},
		{"overruns", "look", "1 tick took longer than the 16.7 ms there are for it in the last seconds; the server uses less than a processor, so it waited: for one, or in a call that blocks.",
			func(p *plot) { p.overruns.add(begin, 1) }, time.Second, steady},
		{"overruns", "look", "1 tick took longer than the 16.7 ms there are for it in the last seconds.",
			func(p *plot) { p.overruns.add(begin, 1) }, time.Second, with(func(s *scene) { s.stats.CPU = -1 })},
		{"steady", "", "", func(p *plot) { p.overruns.add(begin, 1) }, 6 * time.Second, steady},
		{"broken", "bad", "The spectator cannot make sense of what the server sends: a frame of type 9.",
			func(p *plot) { p.broken = errors.New("a frame of type 9") }, 0, steady},
		{"blind", "bad", "The picture stands still: the spectator’s connection to the server has ended (you were idle). The numbers go on. Restart the server to see it move again.",
			func(p *plot) { p.blind = errors.New("you were idle"); frozen(p, 17) }, 0, steady},
		{"botless", "bad", "The bots’ process has ended (signal: killed), and the server goes on without them. Set the number of bots, and it starts anew.",
			func(p *plot) { p.botless = "signal: killed"; frozen(p, 17) }, 0, with(func(s *scene) { s.bots = botReport{Wanted: 1000} })},
	} {
		p := &plot{}
		if c.before != nil {
			c.before(p)
		}
		topic, mood, say := p.narrate(at(c.now), c.scene)
		assert.Equal(t, c.topic, topic, say)
		assert.Equal(t, c.mood, mood, say)
		if c.say != "" {
			assert.Equal(t, c.say, say)
		}
	}
}

func TestTheSentenceDoesNotFlicker(t *testing.T) {
	p, begin := &plot{}, time.Unix(1_000_000, 0)
	s := scene{running: true, stats: Stats{Rate: 60, Tick: 1}, last: stats(1, 0, 0, 0)}
	_, _, first := p.narrate(begin, s)
	s.stats.Tick = 2
	_, _, again := p.narrate(begin.Add(50*time.Millisecond), s)
	assert.Equal(t, first, again)
	_, _, later := p.narrate(begin.Add(time.Second), s)
	assert.NotEqual(t, first, later)
	s.running = false
	topic, _, _ := p.narrate(begin.Add(1050*time.Millisecond), s)
	assert.Equal(t, "starting", topic, "another subject is said at once")
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", -3: "0", 999: "999", 1000: "1,000", 12345678: "12,345,678"} {
		assert.Equal(t, want, whole(n))
	}
	assert.Equal(t, "1 bot", count(1, "bot", "bots"))
	assert.Equal(t, "none has joined yet", some(nil))
	assert.Equal(t, "there are 3, 4 and others", some([]uint32{3, 4}))
}

func TestTheServerHasRoom(t *testing.T) {
	assert.Equal(t, 2000, roomFor(1))
	assert.Equal(t, 20_100, roomFor(10_000))
	assert.Less(t, roomFor(maxBots()), 1<<16, "a world holds 65535")
}

func TestPlayersArePacked(t *testing.T) {
	assert.Equal(t, []byte{1, 2, 3, 4, 0xff, 0xfe, 0x10, 0x20}, appendPlayer(nil, 0x04030201, 0xfeff, 0x2010))
}

package interop

import (
	"fmt"
	"math/rand"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// frameMax is beyond what a device with the usual MTU sends at once.
	frameMax = 4096
	// cableFramesMax bounds what is under way in each direction; more is lost.
	cableFramesMax = 8192
	// jitterEvery is how long a line keeps its present delay. One that is drawn for each frame would
	// be the longest of many, since frames keep their order.
	jitterEvery = 50 * time.Millisecond
)

// line is how long frames take one way, how much longer they may, and how many of them are lost,
// as a part of one.
type line struct {
	delay, jitter time.Duration
	loss          float64
}

// cable joins two network devices of which this process holds the other ends. It keeps the order of
// frames. It stands for a queue discipline that not every kernel has.
type cable struct {
	ends [2]*os.File
	line atomic.Pointer[line]
	// late is by how much the latest frame was, because this process did not run; lost are those for
	// which there was no room.
	late, lost atomic.Int64
	carriers   sync.WaitGroup
}

// frame is what is under way, and when it arrives.
type frame struct {
	bytes []byte
	due   time.Time
}

// newLongNetns is a network in which each member that is added is on such a line.
func newLongNetns(t testing.TB, usual line) *netns {
	t.Helper()
	s := newNetns(t)
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		lacks(t, fmt.Sprintf("long lines need a device: %v", err))
	}
	s.cables, s.usual = map[int]*cable{}, usual
	return s
}

// newTap makes a device in the namespace of this thread. Its frames are whole: they have their
// checksums, and none is larger than what a cable carries.
func newTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// plug makes the devices at both ends of a member's cable, and carries what they send.
func (s *netns) plug(number int) {
	s.t.Helper()
	w := &cable{}
	w.line.Store(&s.usual)
	for i, end := range [2]struct {
		number int
		device string
	}{{number, "eth0"}, {switchNumber, "port" + strconv.Itoa(number)}} {
		err := s.inside(end.number, func() (err error) {
			w.ends[i], err = newTap(end.device)
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.ip(number, "link set eth0 address "+netnsMAC(number))
	for i, from := range w.ends {
		w.carriers.Add(1)
		go w.carry(from, w.ends[1-i])
	}
	s.t.Cleanup(func() {
		w.ends[0].Close()
		w.ends[1].Close()
		w.carriers.Wait()
		if n := w.lost.Load(); n > 0 {
			s.t.Logf("the line of %s had no room for %d frames", s.name(number), n)
		}
	})
	s.cables[number] = w
}

// carry takes frames from one device and gives them to another when they are due, until a device
// is closed.
func (w *cable) carry(from, to *os.File) {
	defer w.carriers.Done()
	under := make(chan frame, cableFramesMax)
	w.carriers.Add(1)
	go func() {
		defer w.carriers.Done()
		for f := range under {
			if wait := time.Until(f.due); wait > 0 {
				<-time.After(wait)
			}
			late := time.Since(f.due).Nanoseconds()
			for was := w.late.Load(); late > was && !w.late.CompareAndSwap(was, late); was = w.late.Load() {
			}
			// A device that is down takes nothing; nor does a real one.
			_, _ = to.Write(f.bytes)
		}
	}()
	defer close(under)
	buffer := make([]byte, frameMax)
	var last, drawn time.Time
	swing := 0.0
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		now, l := time.Now(), w.line.Load()
		if now.Sub(drawn) > jitterEvery {
			swing, drawn = rand.Float64(), now
		}
		if rand.Float64() < l.loss {
			continue
		}
		due := now.Add(l.delay + time.Duration(swing*float64(l.jitter)))
		if due.Before(last) {
			due = last
		}
		last = due
		select {
		case under <- frame{append([]byte(nil), buffer[:n]...), due}:
		default:
			w.lost.Add(1)
		}
	}
}

// stretch makes a member's line another one.
func (s *netns) stretch(number int, l line) {
	for _, w := range s.cables {
		w.late.Store(0)
	}
	s.cables[number].line.Store(&l)
}

// late is how late frames were at most since the lines were last changed.
func (s *netns) late() (longest time.Duration) {
	for _, w := range s.cables {
		longest = max(longest, time.Duration(w.late.Load()))
	}
	return longest
}

// Frames on a long line take their time, keep their order and are lost as often as they shall be.
func TestNetnsLinesAreLong(t *testing.T) {
	t.Parallel()
	usual := line{delay: 30 * time.Millisecond, jitter: 20 * time.Millisecond}
	s := newLongNetns(t, usual)
	one, two := s.add(), s.add()
	sockets := s.packets(one, two)
	// send sends so many packets, which say when; what comes is given as how long it took.
	send := func(count int) (took []time.Duration) {
		t.Helper()
		base := time.Now()
		go func() {
			to := &net.UDPAddr{IP: net.ParseIP(netnsAddress(two)), Port: 9}
			for range count {
				_, _ = sockets[one].WriteTo(fmt.Append(nil, time.Since(base).Nanoseconds()), to)
				<-time.After(time.Millisecond)
			}
		}()
		buffer, last := make([]byte, 100), int64(0)
		for len(took) < count {
			_ = sockets[two].SetReadDeadline(time.Now().Add(2 * time.Second))
			n, _, err := sockets[two].ReadFrom(buffer)
			if err != nil {
				break
			}
			at, err := strconv.ParseInt(string(buffer[:n]), 10, 64)
			if err != nil || at < last {
				t.Errorf("%q came after %d", buffer[:n], last)
			}
			last = at
			took = append(took, time.Since(base)-time.Duration(at))
		}
		return took
	}
	poll(t, 10*time.Second, func() error {
		if len(send(1)) == 0 {
			return fmt.Errorf("nothing comes")
		}
		return nil
	})
	check := func(what string, least time.Duration) {
		t.Helper()
		took := send(200)
		if len(took) < 195 {
			t.Errorf("%s: %d of 200 packets came", what, len(took))
		}
		for _, one := range took {
			if one < least {
				t.Fatalf("%s: a packet took %v, not %v", what, one, least)
			}
		}
		t.Logf("%s: packets took %v and more", what, took[0])
	}
	// Each of them is on a line of its own.
	check("usual", 2*usual.delay)
	s.stretch(one, line{delay: 100 * time.Millisecond})
	check("longer", 100*time.Millisecond+usual.delay)
	s.stretch(one, line{loss: 0.5})
	if n := len(send(200)); n < 50 || n > 150 {
		t.Errorf("%d of 200 packets came where half should be lost", n)
	}
	s.heal()
	check("healed", 2*usual.delay)
}

// kubelet's own client of login1 asks for a lock, waits for the host's shutdown, and ends as it is told: `release` gives
// the lock back when the host goes down, `hold` keeps it, `die` leaves while it holds it, `late` asks for one only then.
// Its bus is that of DBUS_SYSTEM_BUS_ADDRESS. It says what it has seen, a word a line.
package main

import (
	"fmt"
	"os"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/nodeshutdown/systemd"
)

const limit = time.Minute

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: shutdown release|hold|die|late DELAY")
		os.Exit(2)
	}
	if err := wait(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "shutdown: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func wait(how, delay string) error {
	want, err := time.ParseDuration(delay)
	if err != nil {
		return err
	}
	bus, err := systemd.NewDBusCon()
	if err != nil {
		return err
	}
	got, err := bus.CurrentInhibitDelay()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the longest delay is %v instead of %v", got, want)
	}
	// Nobody reloads what is not there, and kubelet must be told so.
	if err := bus.ReloadLogindConf(); err == nil {
		return fmt.Errorf("there is no systemd, but it took a signal")
	}
	if how == "late" {
		_, err := bus.InhibitShutdown()
		if err == nil {
			return fmt.Errorf("a host that goes down gave a lock")
		}
		fmt.Println("refused")
		return bus.Close()
	}
	lock, err := bus.InhibitShutdown()
	if err != nil {
		return err
	}
	events, err := bus.MonitorShutdown(klog.Background())
	if err != nil {
		return err
	}
	fmt.Println("ready")
	select {
	case down, open := <-events:
		if !open || !down {
			return fmt.Errorf("told %v (open: %v)", down, open)
		}
	case <-time.After(limit):
		return fmt.Errorf("was not told")
	}
	fmt.Println("told")
	switch how {
	case "release":
		// The end of pods takes a while.
		time.Sleep(500 * time.Millisecond)
		if err := bus.ReleaseInhibitLock(lock); err != nil {
			return err
		}
		fmt.Println("released")
		// Told twice, kubelet would end its pods again, and close a descriptor that is not its own any more.
		select {
		case down, open := <-events:
			return fmt.Errorf("told twice: %v (open: %v)", down, open)
		case <-time.After(500 * time.Millisecond):
		}
		return bus.Close()
	case "hold":
		time.Sleep(limit)
	}
	return nil
}

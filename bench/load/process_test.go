package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func statOf(t *testing.T, text string) *schedstat {
	t.Helper()
	path := filepath.Join(t.TempDir(), "schedstat")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return openSchedstat(path)
}

func TestKeptWaiting(t *testing.T) {
	k := &keptWaiting{
		main:    statOf(t, "5000000 21000000 17\n"),
		helpers: []*schedstat{statOf(t, "4000000 900000 2\n"), statOf(t, "0 0 0\n")},
	}
	defer k.close()
	if got := k.us(); got != 17_000 {
		t.Errorf("%d us, want the 21 ms that it waited less the 4 ms that its helper ran", got)
	}
}

func TestKeptWaitingLooksAtTheOtherThreads(t *testing.T) {
	k := openKeptWaiting(os.Getpid())
	defer k.close()
	if len(k.helpers) == 0 {
		t.Error("no thread beside the main one, of which Go has several")
	}
	for _, helper := range k.helpers {
		if thread := filepath.Base(filepath.Dir(helper.file.Name())); thread == strconv.Itoa(os.Getpid()) {
			t.Error("the main thread counts as a helper of itself")
		}
	}
	if ranUs, _ := k.main.read(); ranUs <= 0 {
		t.Error("the main thread has not run")
	}
}

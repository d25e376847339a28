package serf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

// Step is one of what every member does when the fleet gets a new key.
type Step string

// The steps, in their order. Until all members have done one nobody begins the
// next, so that at any moment each decrypts what any other encrypts.
const (
	StepCheck   Step = "check"   // whether the file of keys can be rewritten
	StepInstall Step = "install" // decrypt with the new key, too
	StepUse     Step = "use"     // encrypt with the new key
	StepRemove  Step = "remove"  // forget an old key
)

// keyQuery is the name of the query by which members are asked.
const keyQuery = "skein-keys"

// keyRequest asks a member for a step.
type keyRequest struct {
	Step Step   `json:"step"`
	Key  []byte `json:"key,omitempty"` // to install
	ID   string `json:"id,omitempty"`  // of the key to use or to remove
}

// keyReply is what a member says: its keys after the step.
type keyReply struct {
	Keys    []string `json:"keys,omitempty"` // ids, the one that encrypts first
	Problem string   `json:"problem,omitempty"`
}

// keyID names a key without telling it: the begin of its SHA-256.
func keyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// keyring is this member's keys, in the gossip and in the file, which always
// holds what the gossip uses. It belongs to whoever follows the events.
type keyring struct {
	ring *memberlist.Keyring // nil without encryption
	file string              // "" if the keys come from elsewhere
}

// answer does what another member, or this one, asks for. What it asks comes
// from the network, if from somebody who has a key.
func (k keyring) answer(payload []byte) []byte {
	var request keyRequest
	err := json.Unmarshal(payload, &request)
	if err == nil {
		err = k.do(request)
	}
	reply := keyReply{Keys: k.ids()}
	if err != nil {
		reply.Problem = err.Error()[:min(len(err.Error()), 300)] // a reply must fit a packet
	}
	text, err := json.Marshal(reply)
	if err != nil {
		return nil // of strings it cannot fail
	}
	return text
}

// do does one step. Each may be asked for again.
func (k keyring) do(r keyRequest) error {
	if k.ring == nil {
		return errors.New("gossip is not encrypted here: set gossip-key-file on every member and restart them")
	}
	if k.file == "" {
		return errors.New("the keys come from gossip-keys, which a restart would bring back: use gossip-key-file")
	}
	switch r.Step {
	case StepCheck:
		return probeKeys(k.file)
	case StepInstall:
		return k.install(r.Key)
	case StepUse:
		return k.use(r.ID)
	case StepRemove:
		return k.remove(r.ID)
	}
	return fmt.Errorf("step %q is unknown to this version", r.Step)
}

func (k keyring) install(key []byte) error {
	keys := k.keys()
	switch {
	case memberlist.ValidateKey(key) != nil:
		return errors.New("a key must have 16, 24 or 32 bytes")
	case k.find(keyID(key)) >= 0:
		return nil
	case len(keys) >= maxKeys:
		return fmt.Errorf("there are %d keys already", len(keys))
	}
	if err := writeKeys(k.file, append(keys, key)); err != nil {
		return err
	}
	return k.ring.AddKey(key) //nolint:wrapcheck // it says what it is
}

func (k keyring) use(id string) error {
	keys, i := k.keys(), k.find(id)
	switch {
	case i < 0:
		return fmt.Errorf("key %s is not known here", id)
	case i == 0:
		return nil
	}
	key := keys[i]
	if err := writeKeys(k.file, slices.Insert(slices.Delete(keys, i, i+1), 0, key)); err != nil {
		return err
	}
	return k.ring.UseKey(key) //nolint:wrapcheck // it says what it is
}

func (k keyring) remove(id string) error {
	keys, i := k.keys(), k.find(id)
	switch {
	case i < 0:
		return nil
	case i == 0:
		return fmt.Errorf("key %s is in use here", id)
	}
	key := keys[i]
	if err := writeKeys(k.file, slices.Delete(keys, i, i+1)); err != nil {
		return err
	}
	return k.ring.RemoveKey(key) //nolint:wrapcheck // it says what it is
}

// keys is a copy: the ring changes its own in place.
func (k keyring) keys() [][]byte {
	if k.ring == nil {
		return nil
	}
	keys := slices.Clone(k.ring.GetKeys())
	for i, key := range keys {
		keys[i] = bytes.Clone(key)
	}
	return keys
}

func (k keyring) ids() []string {
	var ids []string
	for _, key := range k.keys() {
		ids = append(ids, keyID(key))
	}
	return ids
}

func (k keyring) find(id string) int { return slices.Index(k.ids(), id) }

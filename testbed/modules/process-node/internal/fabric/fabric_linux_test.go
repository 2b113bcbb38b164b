package fabric

import (
	"net/netip"
	"testing"
)

func TestAddressesAreGivenInTurn(t *testing.T) {
	pods := netip.MustParsePrefix("198.18.0.0/28")
	gateway := pods.Addr().Next()
	f := &Fabric{pods: pods, gateway: gateway, used: map[netip.Addr]bool{}, last: gateway.Next()}
	given := make([]netip.Addr, 0, 12)
	for range 12 { // 16 without the network, the gateway, the machine and the broadcast address
		address, err := f.allocate()
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, address)
	}
	if given[0] != netip.MustParseAddr("198.18.0.3") || given[11] != netip.MustParseAddr("198.18.0.14") {
		t.Errorf("from %s to %s", given[0], given[11])
	}
	if address, err := f.allocate(); err == nil {
		t.Errorf("got %s though all are in use", address)
	}
	delete(f.used, given[4])
	if address, err := f.allocate(); err != nil || address != given[4] {
		t.Errorf("got %s, %v", address, err)
	}
}

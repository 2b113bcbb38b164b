package sandbox

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	namePort = 53
	// idleLimit is how long a connection may say nothing.
	idleLimit = 10 * time.Second
)

// nameServer answers for names over UDP and TCP.
type nameServer struct {
	names    *names
	socket   net.PacketConn
	listener net.Listener
	work     sync.WaitGroup

	mutex       sync.Mutex
	closed      bool
	connections map[net.Conn]bool
}

func newNameServer(fabric Fabric, known *names) (*nameServer, error) {
	address := netip.AddrPortFrom(fabric.Gateway(), namePort)
	socket, err := fabric.ListenPacket(address)
	if err != nil {
		return nil, err
	}
	listener, err := fabric.Listen(address)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	server := &nameServer{names: known, socket: socket, listener: listener, connections: map[net.Conn]bool{}}
	server.work.Go(server.serveDatagrams)
	server.work.Go(server.serveConnections)
	return server, nil
}

func (s *nameServer) serveDatagrams() {
	buffer := make([]byte, streamLimit)
	for {
		length, client, err := s.socket.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if reply := s.names.answer(buffer[:length], false); reply != nil {
			_, _ = s.socket.WriteTo(reply, client) // as a datagram that is lost: the client asks again
		}
	}
}

func (s *nameServer) serveConnections() {
	for {
		connection, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && s.keep(connection) {
			s.work.Go(func() {
				defer s.forget(connection)
				s.converse(connection)
			})
		}
	}
}

// converse answers the queries of a connection, each with its length before it, until the client has no more.
func (s *nameServer) converse(connection net.Conn) {
	for {
		_ = connection.SetDeadline(time.Now().Add(idleLimit))
		var length [2]byte
		if _, err := io.ReadFull(connection, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(connection, query); err != nil {
			return
		}
		reply := s.names.answer(query, true)
		if reply == nil {
			return
		}
		if _, err := connection.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

func (s *nameServer) keep(connection net.Conn) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		_ = connection.Close()
		return false
	}
	s.connections[connection] = true
	return true
}

func (s *nameServer) forget(connection net.Conn) {
	_ = connection.Close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.connections, connection)
}

func (s *nameServer) close() {
	_ = s.socket.Close()
	_ = s.listener.Close()
	s.mutex.Lock()
	s.closed = true
	for connection := range s.connections {
		_ = connection.Close()
	}
	s.mutex.Unlock()
	s.work.Wait()
}

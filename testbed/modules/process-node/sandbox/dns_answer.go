package sandbox

import (
	"math/rand/v2"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// lifetime of an answer in seconds: pods come and go.
	lifetime = 5
	// plainLimit is how long a datagram may be for a client that does not say.
	plainLimit = 512
	// datagramLimit is how long one ever is, so that it fits a packet.
	datagramLimit = 1232
	streamLimit   = 65535
)

// request is what a query asks.
type request struct {
	header   dnsmessage.Header
	question dnsmessage.Question
	// extended clients speak EDNS, and take datagrams of up to size bytes.
	extended bool
	size     int
}

// parse reads a query. It reports false where there is nothing to answer, and else with the code of what is wrong.
func parse(query []byte) (request, dnsmessage.RCode, bool) {
	var parser dnsmessage.Parser
	asked := request{size: plainLimit}
	var err error
	if asked.header, err = parser.Start(query); err != nil || asked.header.Response {
		return asked, 0, false
	}
	if asked.header.OpCode != 0 {
		return asked, dnsmessage.RCodeNotImplemented, true
	}
	questions, err := parser.AllQuestions()
	if err != nil || len(questions) != 1 {
		return asked, dnsmessage.RCodeFormatError, true
	}
	asked.question = questions[0]
	if parser.SkipAllAnswers() != nil || parser.SkipAllAuthorities() != nil {
		return asked, dnsmessage.RCodeFormatError, true
	}
	for {
		additional, err := parser.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return asked, dnsmessage.RCodeSuccess, true
		}
		if err != nil {
			return asked, dnsmessage.RCodeFormatError, true
		}
		if additional.Type == dnsmessage.TypeOPT {
			asked.extended = true
			asked.size = min(max(int(additional.Class), plainLimit), datagramLimit)
		}
		if parser.SkipAdditional() != nil {
			return asked, dnsmessage.RCodeFormatError, true
		}
	}
}

// answer makes the answer to a query, or nothing where none is due. One that is longer than the connection allows is
// cut, and says so: the client then asks again over TCP.
func (n *names) answer(query []byte, overTCP bool) []byte {
	asked, code, due := parse(query)
	if !due {
		return nil
	}
	limit := asked.size
	if overTCP {
		limit = streamLimit
	}
	var answers []dnsmessage.Resource
	if code == dnsmessage.RCodeSuccess {
		answers, code = n.resolve(asked.question)
	}
	packed, err := asked.pack(code, answers, false)
	if err == nil && len(packed) > limit {
		packed, err = asked.pack(code, nil, true)
	}
	if err != nil {
		return nil
	}
	return packed
}

func (n *names) resolve(question dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode) {
	found, exists := n.find(question.Name.String())
	if !exists {
		return nil, dnsmessage.RCodeNameError
	}
	header := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: lifetime}
	var answers []dnsmessage.Resource
	if found.alias != "" {
		target, err := dnsmessage.NewName(found.alias + ".")
		if err != nil {
			return nil, dnsmessage.RCodeServerFailure
		}
		answers = append(answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.CNAMEResource{CNAME: target}})
		header.Name = target
		// One step: an alias of an alias is not followed, so that no circle of them is.
		if found, exists = n.find(found.alias); !exists {
			return answers, dnsmessage.RCodeNameError
		}
	}
	if question.Class == dnsmessage.ClassINET && question.Type == dnsmessage.TypeA {
		answers = append(answers, addressResources(header, found.addresses)...)
	}
	return answers, dnsmessage.RCodeSuccess
}

// addressResources are in no order: clients that take the first spread over all.
func addressResources(header dnsmessage.ResourceHeader, addresses []netip.Addr) []dnsmessage.Resource {
	resources := make([]dnsmessage.Resource, len(addresses))
	for index, place := range rand.Perm(len(addresses)) {
		resources[place] = dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addresses[index].As4()}}
	}
	return resources
}

func (r request) pack(code dnsmessage.RCode, answers []dnsmessage.Resource, cut bool) ([]byte, error) {
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: r.header.ID, Response: true, OpCode: r.header.OpCode, Authoritative: true, Truncated: cut,
			RecursionDesired: r.header.RecursionDesired, RecursionAvailable: true, RCode: code,
		},
		Answers: answers,
	}
	if r.question.Name.Length > 0 {
		reply.Questions = []dnsmessage.Question{r.question}
	}
	if r.extended {
		var header dnsmessage.ResourceHeader
		if err := header.SetEDNS0(datagramLimit, code, false); err != nil {
			return nil, err
		}
		reply.Additionals = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.OPTResource{}}}
	}
	return reply.Pack()
}

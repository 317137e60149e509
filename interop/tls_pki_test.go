package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// authority signs certificates and leaves them in a directory.
type authority struct {
	// chain is what is shown behind a certificate: those that vouch for this authority.
	chain [][]byte
	t     testing.TB
	dir   string
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	// ca is the path of its own certificate.
	ca string
}

// keyPair is a certificate and its key, in files.
type keyPair struct {
	cert, key string
	serial    *big.Int
}

// leaf describes a certificate to be issued. It is for both sides and for a year, if nothing is said.
type leaf struct {
	cn       string
	hosts    []string
	usages   []x509.ExtKeyUsage
	notAfter time.Time
	rsa      bool
}

var tlsSerials atomic.Int64

func template(cn string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1000 + tlsSerials.Add(1)),
		Subject:      pkix.Name{CommonName: cn},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
	}
}

func newKey(isRSA bool) (crypto.Signer, error) {
	if isRSA {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	return signedBy(t, nil, name)
}

// delegate is another authority for which this one vouches.
func (a *authority) delegate(name string) *authority {
	a.t.Helper()
	return signedBy(a.t, a, name)
}

func signedBy(t testing.TB, above *authority, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := template(name)
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	a := &authority{t: t, dir: t.TempDir(), key: key}
	signer, signerKey := tmpl, key
	if above != nil {
		signer, signerKey = above.cert, above.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	if above != nil {
		a.chain = append([][]byte{der}, above.chain...)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert = cert
	a.ca = filepath.Join(a.dir, "ca.pem")
	writePEM(t, a.ca, "CERTIFICATE", der)
	return a
}

// issue makes a certificate under a name, which may have been used before: then its files change.
func (a *authority) issue(name string, l leaf) keyPair {
	a.t.Helper()
	key, err := newKey(l.rsa)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := template(l.cn)
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = l.usages
	if l.usages == nil {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	if !l.notAfter.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = l.notAfter.Add(-time.Hour), l.notAfter
	}
	for _, host := range l.hosts {
		if ip := net.ParseIP(host); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	p := keyPair{filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key"), tmpl.SerialNumber}
	kind, keyDER := "EC PRIVATE KEY", []byte(nil)
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		keyDER, err = x509.MarshalECPrivateKey(key)
	case *rsa.PrivateKey:
		kind, keyDER = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	writePEM(a.t, p.key, kind, keyDER)
	writePEM(a.t, p.cert, "CERTIFICATE", append([][]byte{der}, a.chain...)...)
	return p
}

// revoke writes a list of revoked certificates, and gives its path.
func (a *authority) revoke(revoked ...keyPair) string {
	a.t.Helper()
	list := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
	}
	for _, p := range revoked {
		entry := x509.RevocationListEntry{SerialNumber: p.serial, RevocationTime: time.Now()}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, entry)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	path := filepath.Join(a.dir, "crl.der")
	if err := os.WriteFile(path, der, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// config is a client's, that believes this authority and shows these certificates, one or none.
func (a *authority) config(shown ...keyPair) *tls.Config {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	c := &tls.Config{RootCAs: roots}
	for _, p := range shown {
		cert, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			a.t.Fatal(err)
		}
		// Whatever the server asks for: it shall say what it thinks of this one.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return c
}

// writePEM replaces a file at once, as whoever renews certificates should.
func writePEM(t testing.TB, path, kind string, ders ...[]byte) {
	t.Helper()
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// shown is the number of the certificate that a server shows.
func shown(t testing.TB, address string, config *tls.Config) *big.Int {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(address, "https://"), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// StartTLS makes a server that encrypts, with a certificate that nobody vouches
// for. Close must be called.
func StartTLS() (_ *Server, err error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }() // it is read at the start
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	args := []string{"--save", "", "--appendonly", "no", "--requirepass", Password, "--tls-auth-clients", "no"}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{"cert", "CERTIFICATE", certificate}, {"key", "PRIVATE KEY", private}} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--tls-"+f.name+"-file", path)
		if f.name == "cert" {
			args = append(args, "--tls-ca-cert-file", path)
		}
	}
	return start(false, &tls.Config{InsecureSkipVerify: true}, args)
}

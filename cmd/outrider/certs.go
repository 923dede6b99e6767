package main

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/trust"
)

func newCerts() *cobra.Command {
	c := &cobra.Command{
		Use:   "certs",
		Short: "Certificates for edges and clouds: make an authority, issue, renew, revoke",
		Long: `Certificates for edges and clouds, of an authority of your own. Its folder holds ca.pem and crl.pem,
which go to the cloud, ca.pem, which goes to each edge, and ca.key, which goes nowhere. Each certificate
and its key lie in server/ and edge/, readable by you alone.

A running cloud or edge takes changed files for the next connection, without a restart. A revoked edge is
refused, and its streams are ended within seconds, once the new crl.pem is where cloud.tls.crl says.`,
		Example: `  outrider certs init
  outrider certs server gpu1 --host gpu1.example.org,10.0.0.5
  outrider certs edge acme/laptop
  outrider certs list
  outrider certs renew acme/laptop
  outrider certs revoke acme/laptop
  outrider certs show certs/edge/acme/laptop.pem`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().String("dir", "certs", "folder of the authority")
	var hosts []string
	server := certsCommand("server NAME", "Make a certificate for a cloud", "outrider certs server gpu1 --host gpu1.example.org,10.0.0.5", 1,
		func(c *cobra.Command, a *trust.Authority, name string, life time.Duration) error {
			p, err := a.IssueServer(name, hosts, life)
			if err != nil {
				return err
			}
			return printPair(c.OutOrStdout(), p, fmt.Sprintf("cloud:\n  tls: {cert: %s, key: %s, client_ca: %s, crl: %s}", p.Cert, p.Key, a.CA(), a.CRL()))
		})
	server.Flags().StringSliceVar(&hosts, "host", nil, "names and addresses by which edges reach the cloud, without ports")
	c.AddCommand(newCertsInit(), server,
		certsCommand("edge TENANT/NAME", "Make a certificate for an edge of a tenant", "outrider certs edge acme/laptop", 1,
			func(c *cobra.Command, a *trust.Authority, name string, life time.Duration) error {
				id, err := trust.ParseIdentity(name)
				if err != nil {
					return usageError{err}
				}
				p, err := a.IssueEdge(id, life)
				if err != nil {
					return err
				}
				return printPair(c.OutOrStdout(), p, fmt.Sprintf("edge:\n  tls: {ca: %s, cert: %s, key: %s}", a.CA(), p.Cert, p.Key))
			}),
		certsCommand("renew NAME", "Make a new certificate and key in the same files", "outrider certs renew acme/laptop", 1,
			func(c *cobra.Command, a *trust.Authority, name string, life time.Duration) error {
				p, err := a.Renew(name, life)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s and %s are new; the old certificate stays valid until its end.\n", p.Cert, p.Key)
				return nil
			}),
		certsCommand("revoke NAME|SERIAL", "Take back all certificates of a name, or one", "outrider certs revoke acme/laptop", 1,
			func(c *cobra.Command, a *trust.Authority, name string, _ time.Duration) error {
				n, err := a.Revoke(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%d certificates of %s were revoked; %s is new: copy it to the clouds (cloud.tls.crl).\n", n, name, a.CRL())
				return nil
			}),
		certsCommand("list", "Show what was issued", "outrider certs list", 0,
			func(c *cobra.Command, a *trust.Authority, _ string, _ time.Duration) error {
				return printIssued(c.OutOrStdout(), a)
			}),
		newCertsShow())
	return c
}

func newCertsInit() *cobra.Command {
	var name string
	var days int
	c := &cobra.Command{
		Use: "init", Short: "Make an authority", Example: "  outrider certs init --dir /etc/outrider/certs",
		Long: "Make an authority. Keep its ca.key off the machines that serve: who has it can make certificates for all tenants.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, _ := c.Flags().GetString("dir")
			life, err := lifeOf(days)
			if err != nil {
				return err
			}
			a, err := trust.Init(dir, name, life, time.Now())
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is the authority, %s the list of revoked certificates. Next: outrider certs server NAME --host HOST --dir %s\n",
				a.CA(), a.CRL(), dir)
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "outrider", "of the authority")
	c.Flags().IntVar(&days, "days", int(trust.AuthorityLife.Hours()/24), "that it is valid")
	return c
}

// certsCommand is a command of an authority that there is.
func certsCommand(use, short, example string, names int, run func(*cobra.Command, *trust.Authority, string, time.Duration) error) *cobra.Command {
	var days int
	c := &cobra.Command{
		Use: use, Short: short, Long: short + ". See `outrider certs --help`.", Example: "  " + example,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != names {
				return usagef("`outrider certs %s` takes %d arguments, not %d", c.Name(), names, len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			dir, _ := c.Flags().GetString("dir")
			life, err := lifeOf(days)
			if err != nil {
				return err
			}
			a, err := trust.Open(dir, time.Now)
			if err != nil {
				return err
			}
			return run(c, a, append(args, "")[0], life)
		},
	}
	days = int(trust.LeafLife.Hours() / 24)
	if verb := c.Name(); verb == "server" || verb == "edge" || verb == "renew" {
		c.Flags().IntVar(&days, "days", days, "that it is valid")
	}
	return c
}

func lifeOf(days int) (time.Duration, error) {
	if days < 1 || days > 36500 {
		return 0, usagef("--days is %d, must be between 1 and 36500", days)
	}
	return time.Duration(days) * 24 * time.Hour, nil
}

func printPair(w io.Writer, p trust.Pair, settings string) error {
	_, err := fmt.Fprintf(w, "# %s and %s; in the configuration:\n%s\n", p.Cert, p.Key, settings)
	return err
}

func printIssued(w io.Writer, a *trust.Authority) error {
	list, err := a.List()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintf(w, "Nothing was issued yet: outrider certs server NAME --host HOST --dir %s\n", a.Dir())
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "KIND\tNAME\tSTATE\tSERIAL")
	for _, i := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", i.Kind, i.Name, certState(i.Expires, i.Revoked), i.Serial)
	}
	return t.Flush()
}

func certState(expires, revoked time.Time) string {
	left := time.Until(expires)
	switch {
	case !revoked.IsZero():
		return "revoked " + revoked.Format(time.DateOnly)
	case left < 0:
		return "expired " + expires.Format(time.DateOnly)
	}
	return fmt.Sprintf("until %s (%d days)", expires.Format(time.DateOnly), int(left.Hours()/24))
}

func newCertsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show FILE|NAME", Short: "Show what a certificate says", Long: "Show what a certificate says: a file, or the newest of a name.",
		Example: "  outrider certs show acme/laptop\n  outrider certs show /etc/outrider/cloud.pem",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("`outrider certs show` takes one file or name")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			dir, _ := c.Flags().GetString("dir")
			cert, err := trust.Find(dir, args[0], time.Now)
			if err != nil {
				return err
			}
			printCertificate(c.OutOrStdout(), cert)
			return nil
		},
	}
}

func printCertificate(w io.Writer, c *x509.Certificate) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-12s %s\n", name, value)
		}
	}
	row("subject", c.Subject.String())
	row("issuer", c.Issuer.String())
	row("serial", c.SerialNumber.Text(16))
	row("valid", c.NotBefore.Format(time.DateTime)+" to "+c.NotAfter.Format(time.DateTime))
	row("state", certState(c.NotAfter, time.Time{}))
	hosts := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	row("hosts", strings.Join(hosts, ", "))
	if id, err := trust.IdentityOf(c); err == nil && !c.IsCA {
		row("tenant", id.Tenant)
		row("edge", id.Edge)
	}
	row("sha256", fmt.Sprintf("%x", sha256.Sum256(c.Raw)))
}

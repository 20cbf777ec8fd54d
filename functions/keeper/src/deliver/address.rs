//! Which addresses a request to somebody else's URL may go to. Asked of every address a name resolves to, by the resolver that the
//! connection itself uses: between the look and the connect there is no second look that could say something else.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The name, or the number, leads into a net that is not public.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is not public: private, local and reserved addresses are refused")
    }
}

impl std::error::Error for Refused {}

/// Whether an address is one of the public internet.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// What IANA's registry of special-purpose addresses does not list as globally reachable, and multicast.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let within = |net: [u8; 4], bits: u32| (u32::from(ip) ^ u32::from(Ipv4Addr::from(net))) >> (32 - bits) == 0;
    !(within([0, 0, 0, 0], 8)
        || within([10, 0, 0, 0], 8)
        || within([100, 64, 0, 0], 10)       // carriers' NAT
        || within([127, 0, 0, 0], 8)
        || within([169, 254, 0, 0], 16)      // link-local, with the clouds' metadata
        || within([172, 16, 0, 0], 12)
        || within([192, 0, 0, 0], 24)
        || within([192, 0, 2, 0], 24)
        || within([192, 88, 99, 0], 24)      // 6to4 relays
        || within([192, 168, 0, 0], 16)
        || within([198, 18, 0, 0], 15)
        || within([198, 51, 100, 0], 24)
        || within([203, 0, 113, 0], 24)
        || within([224, 0, 0, 0], 3)         // multicast, reserved, broadcast
        || within([168, 63, 129, 16], 32)) // Azure's host, under a public number
}

/// Global unicast is 2000::/3; what carries an IPv4 address inside (mapped, NAT64, 6to4, Teredo) is refused whole, wherever it leads.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && b < 0x0200)      // protocol assignments: Teredo, benchmarking, ORCHID
        && !(a == 0x2001 && b == 0x0db8)     // documentation
        && a != 0x2002                        // 6to4
        && !(a == 0x3fff && b < 0x1000) // documentation
}

/// Resolves as the system does and refuses names that lead elsewhere than to the public internet, be it with one address of many.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) allow_private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if !allow_private && found.iter().any(|address| !is_public(address.ip())) {
                return Err(Refused.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_reserved_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::a00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:0:53aa:64c::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff:fff::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.1.1.1",
            "128.0.0.1",
            "169.253.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "192.169.1.1",
            "198.17.1.1",
            "198.20.1.1",
            "223.255.255.255",
            "168.63.129.17",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_refused_at_connect() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        let client = |allow_private| {
            reqwest::Client::builder()
                .no_proxy()
                .dns_resolver(std::sync::Arc::new(Guarded { allow_private }))
                .build()
                .unwrap()
        };
        let error = client(false).get(&url).send().await.unwrap_err();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        let mut refused = false;
        while let Some(error) = cause {
            refused |= error.is::<Refused>();
            cause = error.source();
        }
        assert!(refused, "{error:?}");
        // Allowed, it connects.
        let asked = tokio::spawn(async move { client(true).get(&url).send().await });
        listener.accept().await.unwrap();
        asked.abort();
    }
}

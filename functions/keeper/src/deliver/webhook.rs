//! Signed webhooks, after <https://www.standardwebhooks.com>: 2xx is success and everything else a failure that is tried again, for
//! a receiver's mistakes (401, 404, a redirect) are mended as its outages are. 410 says that nobody wants it any more: that is for good.

use chrono::Utc;
use hub::types::Outgoing;
use secrecy::{ExposeSecret, SecretString};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use url::{Host, Url};

use super::{
    Carrier, Failure,
    address::{Refused, is_public},
    http,
};

pub(super) async fn deliver(carrier: &Carrier, row: &Outgoing, secret: &SecretString) -> Result<(), Failure> {
    let url = checked(&row.target, carrier.settings.allow_private)?;
    let body = row.body.get();
    let (id, now) = (row.id.to_string(), Utc::now().timestamp());
    let signature = sign(secret, &row.secret_name, &id, now, body)?;
    let request = carrier
        .guarded
        .post(url)
        .header("content-type", "application/json")
        .header(HEADER_WEBHOOK_ID, id)
        .header(HEADER_WEBHOOK_TIMESTAMP, now)
        .header(HEADER_WEBHOOK_SIGNATURE, signature)
        .body(body.to_owned());
    // What it answers is nobody's business here: an owner could read what a service says that was never meant for them.
    let answer = http::send(request, 0).await?;
    match answer.status {
        200..300 => Ok(()),
        410 => Err(Failure::for_good("the receiver answered 410: it wants nothing more; switch the bridge off")),
        300..400 => Err(Failure::for_now(format!(
            "the receiver answered {}: redirects are not followed; give the bridge the final address",
            answer.status
        ))),
        status => {
            let failure = Failure::for_now(format!("the receiver answered {status}"));
            Err(Failure { retry_after: answer.retry_after(), ..failure })
        }
    }
}

/// What its text tells; what the name means is looked at by the resolver.
pub(super) fn checked(target: &str, allow_private: bool) -> Result<Url, Failure> {
    let url = Url::parse(target).map_err(|_| Failure::for_good("the target is no URL"))?;
    let secure = url.scheme() == "https" || (allow_private && url.scheme() == "http");
    if !secure || !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::for_good("the target must be an https URL without a user"));
    }
    // The resolver is not asked for numbers. `Url` has read decimal, octal and short forms as what they are.
    let number = match url.host() {
        Some(Host::Ipv4(ip)) => Some(ip.into()),
        Some(Host::Ipv6(ip)) => Some(ip.into()),
        _ => None,
    };
    if !allow_private && number.is_some_and(|ip| !is_public(ip)) {
        return Err(Failure::for_good(Refused.to_string()));
    }
    Ok(url)
}

/// `whsec_` and base64, or the bytes as they are; several, with blanks between, while a secret is exchanged: one signature each.
fn sign(secret: &SecretString, name: &str, id: &str, now: i64, body: &str) -> Result<String, Failure> {
    let secret = secret.expose_secret().trim();
    let several = secret.split_whitespace().all(|one| one.starts_with("whsec_"));
    let each: Vec<&str> = if several { secret.split_whitespace().collect() } else { vec![secret] };
    let mut signatures = Vec::new();
    for one in each {
        let key =
            if one.starts_with("whsec_") { Webhook::new(one) } else { Webhook::from_bytes(one.as_bytes().to_vec()) };
        let signed = key.and_then(|key| key.sign(id, now, body.as_bytes()));
        signatures.push(
            signed.map_err(|_| Failure::for_now(format!("the secret {name} is not of the form whsec_<base64>")))?,
        );
    }
    Ok(signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_webhooks_example_signs_alike() {
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let signed = |secret: &str| {
            sign(&secret.to_owned().into(), "HUB_BRIDGE_X", id, 1_614_265_330, body).map_err(|failure| failure.error)
        };
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(), good);
        let two = signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_AAAA\n").unwrap();
        assert!(two.starts_with(&format!("{good} v1,")) && two.len() == 2 * good.len() + 1, "{two}");
        assert_ne!(signed("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(), good, "without its prefix it is bytes");
        let bad = signed("whsec_!!").unwrap_err();
        assert!(bad.contains("HUB_BRIDGE_X") && !bad.contains("!!"), "{bad}");
    }

    #[test]
    fn private_addresses_in_every_notation_are_refused() {
        for refused in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://[fd00::1]/",
        ] {
            let failure = checked(refused, false).unwrap_err();
            assert!(failure.permanent && failure.error.contains("not public"), "{refused}: {}", failure.error);
            assert!(checked(refused, true).is_ok(), "{refused}");
        }
        for refused in [
            "http://example.com/",
            "https://me@example.com/",
            "https://me:pw@example.com/",
            "ftp://example.com/",
            "example.com",
            "file:///etc/passwd",
        ] {
            assert!(checked(refused, false).unwrap_err().permanent, "{refused}");
        }
        assert!(
            checked("https://example.com:8443/in?x=1", false).is_ok() && checked("https://8.8.8.8/", false).is_ok()
        );
        assert!(checked("http://127.0.0.1:1/", true).is_ok());
    }
}

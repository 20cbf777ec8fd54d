//! Who speaks: the bearer of a token of the project.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
};

use crate::{
    problem::Problem,
    router::Api,
    token::{BadToken, Claims},
};

/// A caller with a valid token. What they may do is the database's to say, by these claims.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub Claims);

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let refuse = |detail: &str| {
            Problem::new(StatusCode::UNAUTHORIZED, detail)
                .hint("Send the header `Authorization: Bearer <token>` with a signed-in person's token.")
        };
        let value =
            parts.headers.get(header::AUTHORIZATION).ok_or_else(|| refuse("the header Authorization is missing"))?;
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| refuse("the header Authorization is not of the form `Bearer <token>`"))?;
        let claims = api.verifier.verify(token).map_err(|why| {
            refuse(match why {
                BadToken::Expired => "the token has expired",
                BadToken::Signature | BadToken::Incomplete | BadToken::Invalid => {
                    "the token is not one of this project"
                }
            })
        })?;
        match claims.get("role").and_then(|role| role.as_str()) {
            Some("anon" | "authenticated" | "service_role") => Ok(Self(claims)),
            _ => Err(refuse("the token says no role of this project")),
        }
    }
}

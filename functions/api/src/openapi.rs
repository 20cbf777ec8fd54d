//! What the functions take and answer, as OpenAPI 3.1: made from the types that are read and written, once, and served as it is.

use std::sync::LazyLock;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use hub::types::{Message, Reply, Sent, Task, Thread};
use hub_edge::{Function, Problem};
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr,
        Required, ResponseBuilder, Schema, SecurityRequirement,
        header::Header,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{AnyOfBuilder, ObjectBuilder, SchemaType, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::problem::problem;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| build().to_json().unwrap_or_else(|_| "{}".into()));

pub(crate) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The answer to any other method.
pub(crate) async fn only_read() -> Response {
    let mut answer = problem(Problem::new(405, "the description is read with GET"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

/// A delivery, stored.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; the values are the database's")]
struct Delivery {
    /// Its row in `hub_webhook_deliveries`.
    delivery: uuid::Uuid,
    /// Whether it was stored before.
    duplicate: bool,
}

/// A message of an agent, said.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; the values are the database's")]
struct Told {
    /// False if it was only checked.
    delivered: bool,
    /// To whom.
    target: String,
    message: Option<Message>,
    task: Option<Task>,
    thread: Option<Thread>,
    reply: Option<Reply>,
}

/// An answer, taken.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; the values are the database's")]
struct Taken {
    /// `answered`.
    outcome: String,
    /// What was decided, in words.
    text: String,
}

/// How a function shows itself to the world.
struct Shown {
    summary: &'static str,
    description: &'static str,
    security: &'static [&'static str],
    headers: &'static [(&'static str, &'static str, bool)],
    takes: RefOr<Schema>,
    example: Value,
    answers: Vec<(&'static str, &'static str, RefOr<Schema>)>,
    refuses: &'static [&'static str],
}

fn named(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

fn any_object() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object)).into()
}

fn shown(function: Function) -> Shown {
    let uuid = "00000000-0000-0000-0000-000000000000";
    match function {
        Function::Koji => Shown {
            summary: "Ask Koji: one command, one answer, nothing kept",
            description: "Aura sends `{channel_id, command}` with a signed-in person's token. Discord sends its interactions, signed with the \
                          application's key (headers X-Signature-Ed25519 and X-Signature-Timestamp), and is answered with an interaction \
                          response. What a person mistypes is answered, not refused.",
            security: &["person", "discord"],
            headers: &[],
            takes: named("Command"),
            example: json!({"channel_id": uuid, "command": "!stats"}),
            answers: vec![(
                "200",
                "What Koji says, whole and in pieces of at most 2000 characters; to Discord an interaction response",
                AnyOfBuilder::new().item(named("Reply")).item(interaction()).into(),
            )],
            refuses: &["400", "401", "403", "404", "409", "413", "415"],
        },
        Function::GitHub => Shown {
            summary: "What GitHub reports",
            description: "Verified, stored once by its delivery id, and answered; rules (`hub_webhook_rules`) make tasks of it afterwards. JSON, or a form \
                          with the field `payload`.",
            security: &["github"],
            headers: &[
                (
                    "X-GitHub-Event",
                    "What happened: push, pull_request, issues, issue_comment, check_suite, ping, …",
                    true,
                ),
                ("X-GitHub-Delivery", "The delivery's id; the same again is stored once", true),
            ],
            takes: any_object(),
            example: json!({"ref": "refs/heads/main", "repository": {"full_name": "owner/name"}}),
            answers: vec![("202", "Stored", named("Delivery")), ("200", "It was stored before", named("Delivery"))],
            refuses: &["400", "401", "413", "415"],
        },
        Function::Telegram => Shown {
            summary: "What Telegram's users write",
            description: "A message in a bridged chat becomes one in its channel. What becomes nothing is answered alike, or Telegram would send it again.",
            security: &["telegram"],
            headers: &[],
            takes: ObjectBuilder::new()
                .property(
                    "update_id",
                    ObjectBuilder::new()
                        .schema_type(SchemaType::Type(Type::Integer))
                        .minimum(Some(0))
                        .maximum(Some(i64::MAX)),
                )
                .required("update_id")
                .into(),
            example: json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1}, "from": {"first_name": "Ada"}, "text": "!stats"}}),
            answers: vec![("200", "Taken", any_object())],
            refuses: &["400", "401", "413"],
        },
        Function::Hooks => Shown {
            summary: "What agents tell people and each other",
            description: "With a token of the sender's own (`hub_create_hook_token`), which says which targets it may reach.",
            security: &["hook"],
            headers: &[],
            takes: named("Hook"),
            example: json!({"message": "The nightly build is green.", "channel": format!("channel:{uuid}"), "deliver": true}),
            answers: vec![("200", "Said, or only checked", named("Told"))],
            refuses: &["400", "401", "403", "404", "409", "413", "415"],
        },
        Function::Send => Shown {
            summary: "Send a message, as a person would type it",
            description: "The plain way in for scripts and CI: the channel's architecture decides what comes of it.",
            security: &["person"],
            headers: &[],
            takes: named("Outgoing"),
            example: json!({"channel": "buf-barista/quick", "content": "What is in this folder?", "idempotency_key": "nightly-1"}),
            answers: vec![("200", "Sent", named("Sent"))],
            refuses: &["400", "401", "403", "404", "409", "413", "415"],
        },
        Function::Answer => Shown {
            summary: "Answer what a task asks, by the token that came with the question",
            description: "What a button of a notification (ntfy) sends. A token is good for one answer of the person it was sent to; it is the only \
                          credential, and the body's type is not looked at.",
            security: &[],
            headers: &[],
            takes: named("Answer"),
            example: json!({"token": "…", "answer": "allow"}),
            answers: vec![("200", "It is the answer", named("Taken"))],
            refuses: &["400", "401", "403", "404", "409", "413"],
        },
    }
}

/// What answers an interaction of Discord.
fn interaction() -> RefOr<Schema> {
    ObjectBuilder::new()
        .description(Some("As Discord documents it"))
        .property("type", ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)))
        .required("type")
        .into()
}

fn refusal(status: &str) -> &'static str {
    match status {
        "400" => "The body, or a header that is needed, is not that; `detail` names it",
        "401" => "Token or signature missing, wrong or expired",
        "403" => "Not allowed",
        "404" => "No such channel",
        "405" => "Not POST",
        "408" => "The body arrived too slowly",
        "409" => {
            "Not possible as things are: a channel of another kind, a key that was used for something else, an ask that is answered already"
        }
        "413" => "Larger than the function takes",
        "415" => "A body of another kind",
        "429" => "Too many requests of this caller",
        "503" => "Not configured here, or not available now: try again",
        _ => "It took too long",
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

fn build() -> utoipa::openapi::OpenApi {
    let mut paths = PathsBuilder::new();
    for function in Function::ALL {
        let Shown { summary, description, security, headers, takes, example, answers, refuses } = shown(function);
        let mut operation = OperationBuilder::new()
            .operation_id(Some(function.name()))
            .summary(Some(summary))
            .description(Some(format!("{description} At most {} KB.", function.body_limit() / 1024)))
            .securities(Some(security.iter().map(|name| SecurityRequirement::new(*name, [] as [&str; 0]))))
            .request_body(Some(
                RequestBodyBuilder::new()
                    .required(Some(Required::True))
                    .content(
                        "application/json",
                        ContentBuilder::new().schema(Some(takes)).example(Some(example)).build(),
                    )
                    .build(),
            ));
        for (name, about, required) in headers {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(*name)
                    .parameter_in(ParameterIn::Header)
                    .required(if *required { Required::True } else { Required::False })
                    .description(Some(*about))
                    .schema(Some(text().pattern(Some("^[!-~]{1,200}$")))),
            );
        }
        let told = |description: &str| {
            ResponseBuilder::new().description(description).header("X-Request-Id", Header::new(text().build()))
        };
        for (status, about, schema) in answers {
            let content = ContentBuilder::new().schema(Some(schema)).build();
            operation = operation.response(status, told(about).content("application/json", content).build());
        }
        for status in refuses.iter().chain(&["408", "429", "503", "504"]) {
            let content = ContentBuilder::new().schema(Some(named("Problem"))).build();
            operation =
                operation.response(*status, told(refusal(status)).content("application/problem+json", content).build());
        }
        let path = format!("/functions/v1/{}", function.name());
        paths = paths.path(path, PathItem::new(HttpMethod::Post, operation));
    }
    let bearer = |about: &str| {
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build())
    };
    let key = |name: &str, about: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name.to_owned(), about.to_owned())))
    };
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Aura Hub: functions").version(env!("CARGO_PKG_VERSION")).description(Some(
            "Errors are application/problem+json (RFC 9457). X-Request-Id is kept, or made, and stands in the log.",
        )))
        .paths(paths)
        .components(Some(
            ComponentsBuilder::new()
                .schema_from::<hub_edge::Answer>()
                .schema_from::<hub_edge::Command>()
                .schema_from::<hub_edge::Hook>()
                .schema_from::<hub_edge::Outgoing>()
                .schema_from::<Message>()
                .schema_from::<Reply>()
                .schema_from::<Task>()
                .schema_from::<Thread>()
                .schema_from::<Sent>()
                .schema_from::<Delivery>()
                .schema_from::<Told>()
                .schema_from::<Taken>()
                .schema_from::<Problem>()
                .security_scheme("person", bearer("A signed-in person's token, of the project"))
                .security_scheme("hook", bearer("A token of hub_create_hook_token"))
                .security_scheme(
                    "github",
                    key("X-Hub-Signature-256", "`sha256=` and the body's HMAC with GITHUB_WEBHOOK_SECRET"),
                )
                .security_scheme("telegram", key("X-Telegram-Bot-Api-Secret-Token", "TELEGRAM_WEBHOOK_SECRET"))
                .security_scheme(
                    "discord",
                    key("X-Signature-Ed25519", "With X-Signature-Timestamp; DISCORD_PUBLIC_KEY verifies it"),
                )
                .build(),
        ))
        .build()
}

//! The hub, wherever it is. The calls are in `contract`; here is what is made of several.

use uuid::Uuid;

use crate::{
    api::Api,
    config::{Config, Target},
    db::Db,
    error::{Error, Refusal, Result},
    types::{Channel, Invitation, Message, Server, Task, Thread},
    wake::Wake,
};

/// The hub over Postgres or over a project's URL. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Hub {
    /// A database.
    Postgres(Db),
    /// A project's URL.
    Api(Api),
}

impl Hub {
    /// Connects as configured. Over Postgres a first connection is made; over a URL nothing is sent yet.
    ///
    /// # Errors
    /// What [`Db::connect`] and [`Api::new`] say.
    pub async fn connect(config: &Config) -> Result<Self> {
        match &config.target {
            Target::Postgres { url } => Ok(Self::Postgres(Db::connect_as(url, &config.application).await?)),
            Target::Api { url, key, credential } => {
                Ok(Self::Api(Api::with_credential(url.as_str(), key.clone(), credential.clone())?))
            }
        }
    }

    /// Whether this caller may keep time: a database connection, or the service key.
    #[must_use]
    pub fn keeps_time(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            Self::Api(api) => api.is_service(),
        }
    }

    /// Listens for work for `device`. Returns once it listens, or once it is known that it can not: claim after this.
    pub async fn wake(&self, device: &str) -> Wake {
        match self {
            Self::Postgres(db) => Wake::by_postgres(db.clone(), device.to_owned()).await,
            Self::Api(api) => Wake::by_realtime(api.clone(), device.to_owned()).await,
        }
    }

    /// A task by its id or the first hex digits of it, as people see them (`a1b2`).
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if several begin so, naming them; `BadInput` if these are no hex digits.
    pub async fn task(&self, id: &str) -> Result<Task> {
        let (low, high) = id_range(id).ok_or_else(|| no_id("task", id))?;
        only_one("task", id, self.tasks_between(low, high).await?, |task| task.id)
    }

    /// A thread of a channel by its id or the first hex digits of it.
    ///
    /// # Errors
    /// As [`Hub::task`].
    pub async fn thread(&self, channel: &Channel, id: &str) -> Result<Thread> {
        let (low, high) = id_range(id).ok_or_else(|| no_id("thread", id))?;
        let what = format!("thread in {}", channel.name);
        only_one(&what, id, self.threads_between(channel.id, low, high).await?, |thread| thread.id)
    }

    /// A message of a channel, or of a thread of it, by its id or the first hex digits of it.
    ///
    /// # Errors
    /// As [`Hub::task`].
    pub async fn message(&self, channel: &Channel, id: &str) -> Result<Message> {
        let (low, high) = id_range(id).ok_or_else(|| no_id("message", id))?;
        let what = format!("message in {}", channel.name);
        only_one(&what, id, self.messages_between(channel.id, low, high).await?, |message| message.id)
    }

    /// A server by its name.
    ///
    /// # Errors
    /// `NotFound`, naming those there are.
    pub async fn server_named(&self, name: &str) -> Result<Server> {
        let mut servers = self.servers().await?;
        match servers.iter().position(|server| server.name == name) {
            Some(at) => Ok(servers.swap_remove(at)),
            None => {
                let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
                Err(Error::not_found(format!("server {name}"), there_are(&names)))
            }
        }
    }

    /// A server that the caller is invited to, by its name, by what people see of it, or by its id. The invited may not see the
    /// server itself.
    ///
    /// # Errors
    /// `NotFound`, naming those there are; `Conflict` if several are called so; `Forbidden` over Postgres, which is nobody.
    pub async fn invited_server(&self, server: &str) -> Result<Uuid> {
        if let Ok(id) = server.parse() {
            return Ok(id);
        }
        let called: Vec<Called> = self.invitations().await?.into_iter().map(Called::from).collect();
        match called_so(&called, server)? {
            Some(id) => Ok(id),
            None => Err(Error::not_found(
                format!("an invitation to server {server}"),
                there_are(&called.iter().map(|one| one.name.as_str()).collect::<Vec<_>>()),
            )),
        }
    }

    /// A server that the caller leaves or declines: one that they see, else one that they are invited to. An invitation is
    /// made by others, and one to a server of the same name is not what is meant.
    ///
    /// # Errors
    /// As [`Hub::invited_server`].
    pub async fn own_server(&self, server: &str) -> Result<Uuid> {
        if let Ok(id) = server.parse() {
            return Ok(id);
        }
        let invited: Vec<Called> = self.invitations().await?.into_iter().map(Called::from).collect();
        let seen: Vec<Called> = self.servers().await?.into_iter().map(Called::from).collect();
        let found = match called_so(&seen, server)? {
            None => called_so(&invited, server)?,
            some => some,
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = seen.iter().chain(&invited).map(|one| one.name.as_str()).collect();
            Error::not_found(format!("server {server}"), there_are(&names))
        })
    }

    /// A channel by `server/channel`.
    ///
    /// # Errors
    /// `BadInput` if there is no slash; `NotFound`, naming those there are.
    pub async fn channel_named(&self, path: &str) -> Result<(Server, Channel)> {
        let (server, name) = path.split_once('/').ok_or_else(|| {
            Error::bad_input(format!("channel {path:?}"), "Write it as SERVER/CHANNEL, for example buf-barista/quick.")
        })?;
        let server = self.server_named(server).await?;
        let name = name.trim_start_matches('#');
        let mut channels = self.channels(Some(server.id)).await?;
        match channels.iter().position(|channel| channel.name == name) {
            Some(at) => Ok((server, channels.swap_remove(at))),
            None => {
                let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
                Err(Error::not_found(format!("channel {name} in {}", server.name), there_are(&names)))
            }
        }
    }

    /// A person by the address they sign in with. Over a URL it takes the service key.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn user_by_email(&self, email: &str) -> Result<Uuid> {
        let found = self.find_user(email).await?;
        found.ok_or_else(|| {
            Error::not_found(format!("person {email}"), "They sign in once first; then their account is there.")
        })
    }

    /// What only a person may ask for.
    pub(crate) fn as_a_person(&self) -> Result<&Api> {
        match self {
            Self::Api(api) => Ok(api),
            Self::Postgres(_) => Err(Error::refused(Refusal {
                code: "42501".into(),
                message: "permission denied".into(),
                detail: Some("only a person does this".into()),
                hint: Some(
                    "Give the project's URL and your own token: SUPABASE_URL, SUPABASE_ANON_KEY, HUB_TOKEN.".into(),
                ),
            })),
        }
    }
}

/// What a server is called.
struct Called {
    id: Uuid,
    name: String,
    shown: Option<String>,
}

impl From<Server> for Called {
    fn from(server: Server) -> Self {
        Self { id: server.id, name: server.name, shown: server.display_name }
    }
}

impl From<Invitation> for Called {
    fn from(invitation: Invitation) -> Self {
        Self { id: invitation.server_id, name: invitation.server_name, shown: Some(invitation.server_display_name) }
    }
}

/// The one that is called so, by its name or by what people see; or that several are.
fn called_so(servers: &[Called], name: &str) -> Result<Option<Uuid>> {
    let mut ids: Vec<Uuid> = servers
        .iter()
        .filter(|server| server.name == name || server.shown.as_deref() == Some(name))
        .map(|server| server.id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        several => Err(Error::Conflict(Refusal {
            code: "UH003".into(),
            message: "conflict".into(),
            detail: Some(format!("{} servers are called {name}: {}", several.len(), in_a_row(several))),
            hint: Some("Give the id of the one that is meant.".into()),
        })),
    }
}

fn in_a_row(ids: &[Uuid]) -> String {
    ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(", ")
}

fn no_id(what: &str, id: &str) -> Error {
    Error::bad_input(
        format!("{id:?} is no {what} id"),
        "Give the id, or its first digits as a conversation shows them.",
    )
}

/// The one that was found by the beginning of its id.
fn only_one<T>(what: &str, id: &str, mut found: Vec<T>, of: impl Fn(&T) -> Uuid) -> Result<T> {
    match found.len() {
        0 => Err(Error::not_found(format!("{what} {id}"), "Check the id, and that you may read its server.")),
        1 => Ok(found.remove(0)),
        count => {
            let ids: Vec<Uuid> = found.iter().map(of).collect();
            Err(Error::Conflict(Refusal {
                code: "UH003".into(),
                message: "conflict".into(),
                detail: Some(format!("{count} begin with {id}: {}", in_a_row(&ids))),
                hint: Some("Give more digits.".into()),
            }))
        }
    }
}

fn there_are(names: &[&str]) -> String {
    if names.is_empty() { "You can see none.".into() } else { format!("There are: {}.", names.join(", ")) }
}

/// The ids that begin with these hex digits.
fn id_range(text: &str) -> Option<(Uuid, Uuid)> {
    let digits: String = text.trim().trim_start_matches('#').chars().filter(|c| *c != '-').collect();
    if digits.is_empty() || digits.len() > 32 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let low = u128::from_str_radix(&format!("{digits:0<32}"), 16).ok()?;
    let high = u128::from_str_radix(&format!("{digits:f<32}"), 16).ok()?;
    Some((Uuid::from_u128(low), Uuid::from_u128(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_that_several_ids_have_is_refused() {
        let of = |id: &Uuid| *id;
        assert!(matches!(only_one("task", "a1", vec![], of), Err(Error::NotFound(_))));
        assert_eq!(only_one("task", "a1", vec![Uuid::nil()], of).unwrap(), Uuid::nil());
        let error = only_one("task", "a1", vec![Uuid::nil(), Uuid::max()], of).unwrap_err().to_string();
        assert!(error.contains("2 begin with a1") && error.contains(&Uuid::max().to_string()), "{error}");
    }

    #[test]
    fn a_server_is_found_by_name_and_by_what_people_see_unless_several_are_called_so() {
        let called = |id: u128, name: &str, shown: &str| Called {
            id: Uuid::from_u128(id),
            name: name.to_owned(),
            shown: Some(shown.to_owned()),
        };
        let servers = [called(1, "aura-labs", "Aura Labs"), called(2, "labs", "Labs"), called(3, "other", "labs")];
        assert_eq!(called_so(&servers, "aura-labs").unwrap(), Some(Uuid::from_u128(1)));
        assert_eq!(called_so(&servers, "Aura Labs").unwrap(), Some(Uuid::from_u128(1)));
        assert_eq!(called_so(&servers, "nowhere").unwrap(), None);
        let said = called_so(&servers, "labs").unwrap_err().to_string();
        assert!(said.contains("2 servers") && said.contains(&Uuid::from_u128(3).to_string()), "{said}");
    }

    #[test]
    fn an_id_prefix_is_a_range_of_ids() {
        let (low, high) = id_range("a1b2").unwrap();
        assert_eq!(low.to_string(), "a1b20000-0000-0000-0000-000000000000");
        assert_eq!(high.to_string(), "a1b2ffff-ffff-ffff-ffff-ffffffffffff");
        let whole = "a1b2c3d4-0000-4000-8000-00000000000f";
        assert_eq!(id_range(whole).unwrap(), (whole.parse().unwrap(), whole.parse().unwrap()));
        for bad in ["", "xyz", "a1b2%", &"a".repeat(33)] {
            assert!(id_range(bad).is_none(), "{bad}");
        }
    }
}

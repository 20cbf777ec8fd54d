//! What refinery needs of a connection, by sqlx: one driver and one TLS stack in the program.

use refinery_core::{
    Migration,
    traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A connection that refinery may use.
pub(crate) struct Database<'c>(pub &'c mut PgConnection);

impl AsyncTransaction for Database<'_> {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        let mut count = 0;
        for query in queries {
            // A migration may set its own search_path and such; the next one starts clean.
            sqlx::raw_sql(AssertSqlSafe(query.to_owned())).execute(&mut *transaction).await?;
            count += 1;
        }
        transaction.commit().await?;
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Database<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, sqlx::Error> {
        let rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned())).fetch_all(&mut *self.0).await?;
        rows.iter()
            .map(|row| {
                let applied_on: String = row.try_get(2)?;
                let checksum: String = row.try_get(3)?;
                let decode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
                Ok(Migration::applied(
                    row.try_get(0)?,
                    row.try_get(1)?,
                    OffsetDateTime::parse(&applied_on, &Rfc3339).map_err(|e| decode(e.into()))?,
                    checksum.parse().map_err(|e: std::num::ParseIntError| decode(e.into()))?,
                ))
            })
            .collect()
    }
}

impl AsyncMigrate for Database<'_> {}

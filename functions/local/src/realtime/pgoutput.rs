//! Messages of Postgres' logical replication, protocol version 1 of `pgoutput`: rows as text, with the tables they are of.

use bytes::{Buf, Bytes};
use std::{collections::HashMap, sync::Arc};

/// A table as the log describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its oid.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Its columns, in the order of their values.
    pub columns: Vec<Column>,
    /// Whether the whole old row is logged (`replica identity full`): then every column is marked as part of the key.
    pub full: bool,
}

/// A column of a [`Relation`].
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The oid of its type.
    pub type_oid: u32,
    /// Whether it is part of the replica identity.
    pub key: bool,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// Stored apart and not changed: the log does not repeat it.
    Unchanged,
    /// Its text.
    Text(Bytes),
}

/// A row.
pub type Row = Vec<Cell>;

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new row.
    Insert(Row),
    /// A changed row; the old key or row if the log has it.
    Update(Option<Row>, Row),
    /// A removed row: its key, or all of it.
    Delete(Row),
}

/// What a message is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("a message of the replication stream ends before its fields")]
    Truncated,
    /// A field has a value that the protocol does not know.
    #[error("a message of the replication stream has an unknown part")]
    Unknown,
    /// A row of a table that was not described before.
    #[error("a row of the replication stream is of an unknown table")]
    Relation,
}

/// Reads one stream; keeps the tables it was told of.
#[derive(Debug, Default)]
pub struct Reader {
    relations: HashMap<u32, Arc<Relation>>,
}

impl Reader {
    /// Reads a message. `None`: it tells of no row (a table, a type, a truncation).
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(&mut self, message: Bytes) -> Result<Option<(Arc<Relation>, Change)>, Malformed> {
        let mut input = Input(message);
        let kind = input.u8()?;
        if kind == b'R' {
            let relation = input.relation()?;
            self.relations.insert(relation.oid, Arc::new(relation));
            return Ok(None);
        }
        if !matches!(kind, b'I' | b'U' | b'D') {
            return Ok(None);
        }
        let relation = Arc::clone(self.relations.get(&input.u32()?).ok_or(Malformed::Relation)?);
        let change = match (kind, input.u8()?) {
            (b'I', b'N') => Change::Insert(input.row()?),
            (b'U', b'N') => Change::Update(None, input.row()?),
            (b'U', b'K' | b'O') => {
                let old = input.row()?;
                if input.u8()? != b'N' {
                    return Err(Malformed::Unknown);
                }
                Change::Update(Some(old), input.row()?)
            }
            (b'D', b'K' | b'O') => Change::Delete(input.row()?),
            _ => return Err(Malformed::Unknown),
        };
        Ok(Some((relation, change)))
    }
}

struct Input(Bytes);

impl Input {
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed::Truncated)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.try_get_u16().map_err(|_| Malformed::Truncated)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed::Truncated)
    }

    fn name(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Malformed::Truncated)?;
        let name = self.0.split_to(end);
        self.0.advance(1);
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    fn relation(&mut self) -> Result<Relation, Malformed> {
        let (oid, mut schema, table) = (self.u32()?, self.name()?, self.name()?);
        if schema.is_empty() {
            schema = "pg_catalog".into();
        }
        let full = self.u8()? == b'f';
        let columns = (0..self.u16()?)
            .map(|_| {
                let key = self.u8()? & 1 == 1;
                let (name, type_oid) = (self.name()?, self.u32()?);
                self.u32()?; // the type's modifier
                Ok(Column { name, type_oid, key })
            })
            .collect::<Result<_, Malformed>>()?;
        Ok(Relation { oid, schema, table, columns, full })
    }

    fn row(&mut self) -> Result<Row, Malformed> {
        (0..self.u16()?)
            .map(|_| match self.u8()? {
                b'n' => Ok(Cell::Null),
                b'u' => Ok(Cell::Unchanged),
                b't' => {
                    let length = usize::try_from(self.u32()?).map_err(|_| Malformed::Truncated)?;
                    if self.0.len() < length {
                        return Err(Malformed::Truncated);
                    }
                    Ok(Cell::Text(self.0.split_to(length)))
                }
                _ => Err(Malformed::Unknown),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELATION: &[u8] =
        b"R\0\0\0\x07public\0note\0d\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff\0text\0\0\0\0\x19\xff\xff\xff\xff";

    #[test]
    fn rows_are_read_only_after_their_table_was_described() {
        let mut reader = Reader::default();
        let insert: &[u8] = b"I\0\0\0\x07N\0\x02t\0\0\0\x011n";
        assert_eq!(reader.read(Bytes::from_static(insert)), Err(Malformed::Relation));
        assert_eq!(reader.read(Bytes::from_static(RELATION)), Ok(None));
        let (relation, change) = reader.read(Bytes::from_static(insert)).unwrap().unwrap();
        assert_eq!((relation.schema.as_str(), relation.table.as_str(), relation.full), ("public", "note", false));
        assert_eq!(relation.columns[0], Column { name: "id".into(), type_oid: 23, key: true });
        let one = || Cell::Text(Bytes::from_static(b"1"));
        assert_eq!(change, Change::Insert(vec![one(), Cell::Null]));
        let update: &[u8] = b"U\0\0\0\x07K\0\x02t\0\0\0\x011nN\0\x02t\0\0\0\x011u";
        let (_, change) = reader.read(Bytes::from_static(update)).unwrap().unwrap();
        assert_eq!(change, Change::Update(Some(vec![one(), Cell::Null]), vec![one(), Cell::Unchanged]));
        let (_, change) = reader.read(Bytes::from_static(b"D\0\0\0\x07K\0\x01t\0\0\0\x011")).unwrap().unwrap();
        assert_eq!(change, Change::Delete(vec![one()]));
        assert_eq!(reader.read(Bytes::from_static(b"T\0\0\0\x01\0\0\0\0\x07")), Ok(None));
    }

    #[test]
    fn truncated_messages_are_refused() {
        for end in 0..RELATION.len() {
            assert!(Reader::default().read(Bytes::from_static(&RELATION[..end])).is_err(), "{end}");
        }
        let mut reader = Reader::default();
        reader.read(Bytes::from_static(RELATION)).unwrap();
        let long = Bytes::from_static(b"I\0\0\0\x07N\0\x01t\xff\xff\xff\xff1");
        assert_eq!(reader.read(long), Err(Malformed::Truncated));
    }
}

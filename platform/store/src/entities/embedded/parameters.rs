//! Parameters that are secret: masked in the document, their values sealed beside it.

use evoke_schemas::KeyValues;

use super::layout::decode;
use crate::{Entity, Seal, StoreError};

/// What the values are sealed for.
pub(super) fn place(key: &[u8]) -> Vec<u8> {
    [b"parameters/".as_slice(), key].concat()
}

/// The sealed values of an entity's secret parameters; none where it has none.
pub(super) fn sealed(
    key: &[u8],
    entity: &Entity,
    seal: &Seal,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(parameters) = of(entity).filter(|parameters| parameters.has_secrets()) else {
        return Ok(None);
    };
    let plain = serde_json::to_vec(&parameters.secrets()).map_err(StoreError::failed)?;
    seal.seal(&place(key), &plain).map(Some).map_err(StoreError::failed)
}

/// Gives an entity its secret values back.
pub(super) fn restore(
    key: &[u8],
    entity: &mut Entity,
    sealed: Option<&[u8]>,
    seal: &Seal,
) -> Result<(), StoreError> {
    let (Some(parameters), Some(sealed)) = (of_mut(entity), sealed) else { return Ok(()) };
    let plain = seal
        .open(&place(key), sealed)
        .map_err(|error| StoreError::corrupted(String::from_utf8_lossy(key), error))?;
    parameters.restore(decode(key, &plain)?);
    Ok(())
}

fn of(entity: &Entity) -> Option<&KeyValues> {
    match entity {
        Entity::Action(action) => Some(&action.parameters),
        Entity::Package(package) => Some(&package.parameters),
        Entity::Trigger(trigger) => Some(&trigger.parameters),
        Entity::Rule(_) => None,
    }
}

fn of_mut(entity: &mut Entity) -> Option<&mut KeyValues> {
    match entity {
        Entity::Action(action) => Some(&mut action.parameters),
        Entity::Package(package) => Some(&mut package.parameters),
        Entity::Trigger(trigger) => Some(&mut trigger.parameters),
        Entity::Rule(_) => None,
    }
}

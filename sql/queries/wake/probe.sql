-- Notifies ourselves with $1: what is not heard back means that the listener went deaf without an error.
select pg_notify('hub_device', $1)

-- The hub without its broadcasts, to see what they cost: the triggers of …realtime and …task_triggers, switched off.
alter table public.hub_channel_messages disable trigger hub_channel_messages_broadcast;
alter table public.hub_task_threads disable trigger hub_task_threads_broadcast;
alter table public.mac_tasks disable trigger mac_tasks_50_wake_devices;
alter table public.mac_tasks disable trigger mac_tasks_90_broadcast;
alter table public.mesh_devices disable trigger mesh_devices_wake;
alter table public.mesh_device_servers disable trigger mesh_device_servers_wake;

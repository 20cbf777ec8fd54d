-- What REST calls, with nothing around it: the session is the caller's.
select hub_execute_command(:channel, '!stats');

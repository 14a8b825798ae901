-- Delivery of messages. A worker has a message for the time of a lease, by this server's clock, and ends what it has and no
-- more: whoever comes back after its lease changes nothing. When messages are due goes by the time that the worker gives.

CREATE OR REPLACE FUNCTION message_kind(p_template text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_template IN ('verify_email', 'reset_password', 'change_email') THEN 'code'
        WHEN p_template IN ('already_registered', 'password_changed', 'second_factor_on', 'second_factor_off', 'second_factor_refused',
                            'test') THEN 'account'
        WHEN p_template IN ('alert', 'alert_resolved', 'alert_escalated') THEN 'alert'
        ELSE 'notice' END
$$;
COMMENT ON FUNCTION message_kind(text) IS 'code and account are sent whatever a person prefers, and at once; alert and notice may wait';

CREATE OR REPLACE FUNCTION quiet_until(p_from time, p_until time, p_zone text, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    -- A night is a span of instants, and no comparison of clock times: where clocks go back, an hour comes twice.
    SELECT max(n.ends)
      FROM generate_series(-1, 0) AS d (days)
     CROSS JOIN LATERAL (
           SELECT ((p_now AT TIME ZONE p_zone)::date + d.days + p_from) AT TIME ZONE p_zone AS begins,
                  ((p_now AT TIME ZONE p_zone)::date + d.days + (p_until <= p_from)::integer + p_until) AT TIME ZONE p_zone AS ends) AS n
     WHERE p_from <> p_until AND n.begins <= p_now AND p_now < n.ends
$$;
COMMENT ON FUNCTION quiet_until(time, time, text, timestamptz) IS 'When the quiet hours end that p_now is in; NULL where it is in none. Hours that end when they begin are none';

CREATE OR REPLACE FUNCTION outbox_is_over(p_message outbox, p_now timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(p_message.expires_at, p_message.created_at + INTERVAL '3 days') <= p_now
$$;
COMMENT ON FUNCTION outbox_is_over(outbox, timestamptz) IS 'Whether a message is of no use any more: one that names no time, after three days';

CREATE OR REPLACE FUNCTION outbox_unwanted(p_message outbox) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT CASE
        WHEN NOT CASE p_message.channel WHEN 'email' THEN p.notify_email WHEN 'sms' THEN p.notify_sms WHEN 'push' THEN p.notify_push
                                        WHEN 'webhook' THEN p.notify_webhook AND u.role <> 'USER' ELSE true END
            THEN 'the person wants none by ' || p_message.channel
        WHEN p_message.template = 'alert_escalated'
             AND NOT EXISTS (SELECT FROM alerts a WHERE a.alert_id = (p_message.payload ->> 'alert_id')::bigint AND a.state <> 'resolved' AND a.acknowledged_at IS NULL)
            THEN 'somebody took it on meanwhile, or it is over'
        WHEN message_kind(p_message.template) = 'alert' AND p_message.payload ->> 'rule' = ANY (p.alert_rules_off)
            THEN 'the person does not want to hear of this rule'
        WHEN message_kind(p_message.template) = 'alert'
             AND array_position(ARRAY['low', 'medium', 'warning', 'high', 'critical'], p_message.payload ->> 'severity')
               < array_position(ARRAY['low', 'medium', 'warning', 'high', 'critical'], p.alert_severity_min)
            THEN 'the person wants to hear of worse ones only' END
      FROM user_preferences p JOIN users u USING (user_id) WHERE p.user_id = p_message.user_id
$$;
COMMENT ON FUNCTION outbox_unwanted(outbox) IS 'Why a person does not want this message, or needs it no more; NULL where they do';

CREATE OR REPLACE FUNCTION outbox_close(p_message outbox, p_as text, p_why text, p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox SET closed_at = greatest(p_now, created_at), closed_as = p_as, sealed_secret = NULL, leased_until = NULL, last_error = p_why
     WHERE outbox_id = p_message.outbox_id;
    INSERT INTO deliveries (outbox_id, channel, attempt, attempted_at, outcome, reply)
    VALUES (p_message.outbox_id, p_message.channel, p_message.attempts, p_now, p_as, p_why);
$$;
COMMENT ON FUNCTION outbox_close(outbox, text, text, timestamptz) IS 'Gives a message up without an attempt';

CREATE OR REPLACE FUNCTION outbox_claim(
    p_channel text, p_codes boolean, p_lease interval, p_per_hour integer, p_now timestamptz,
    OUT outbox_id bigint, OUT message_key uuid, OUT user_id integer, OUT template text, OUT payload jsonb, OUT sealed_secret bytea,
    OUT attempt integer, OUT leased_until timestamptz, OUT name text, OUT email text, OUT phone text, OUT language text, OUT timezone text,
    OUT members bigint[], OUT others jsonb)
RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_lease CONSTANT timestamptz := clock_timestamp() + p_lease;
    v_found outbox;
    v_preferences user_preferences;
    v_why text;
    v_quiet timestamptz;
    v_sent timestamptz[];
    v_in_hand bigint;
    v_critical boolean;
BEGIN
    -- What need not go now is put aside, and the next one is looked at; a bound, so that others get their turn.
    FOR v_look IN 1..200 LOOP
        SELECT o.* INTO v_found FROM outbox o
         WHERE o.channel = p_channel AND o.delivered_at IS NULL AND o.closed_at IS NULL AND coalesce(o.due_at, o.created_at) <= p_now
           AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())
           AND o.sealed_secret IS NOT NULL AND NOT outbox_is_over(o, p_now)
         ORDER BY coalesce(o.due_at, o.created_at), o.outbox_id
         LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF NOT FOUND AND NOT p_codes THEN
            SELECT o.* INTO v_found FROM outbox o
             WHERE o.channel = p_channel AND o.delivered_at IS NULL AND o.closed_at IS NULL AND coalesce(o.due_at, o.created_at) <= p_now
               AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())
               AND o.sealed_secret IS NULL AND NOT outbox_is_over(o, p_now)
             ORDER BY coalesce(o.due_at, o.created_at), o.outbox_id
             LIMIT 1 FOR UPDATE SKIP LOCKED;
        END IF;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        members := '{}';
        others := '[]';
        SELECT p.* INTO v_preferences FROM user_preferences p WHERE p.user_id = v_found.user_id;
        IF message_kind(v_found.template) IN ('alert', 'notice') THEN
            v_why := outbox_unwanted(v_found);
            IF v_why IS NOT NULL THEN
                PERFORM outbox_close(v_found, 'unwanted', v_why, p_now);
                CONTINUE;
            END IF;
        END IF;
        -- What goes to a system disturbs nobody: it gets each at once.
        IF message_kind(v_found.template) IN ('alert', 'notice') AND v_found.channel <> 'webhook' THEN
            v_quiet := quiet_until(v_preferences.quiet_from, v_preferences.quiet_until, v_preferences.timezone, p_now);
            IF v_quiet IS NOT NULL AND v_found.payload ->> 'severity' IS DISTINCT FROM 'critical' THEN
                UPDATE outbox o SET due_at = v_quiet, for_digest = true, leased_until = NULL WHERE o.outbox_id = v_found.outbox_id;
                CONTINUE;
            END IF;
            -- What is critical is counted apart, and waits behind nothing less.
            v_critical := v_found.payload ->> 'severity' IS NOT DISTINCT FROM 'critical';
            -- One worker at a time counts what a person got; another one looks again in a second.
            IF NOT pg_try_advisory_xact_lock(hashtextextended('outbox', v_found.user_id)) THEN
                UPDATE outbox o SET due_at = p_now + INTERVAL '1 second' WHERE o.outbox_id = v_found.outbox_id;
                CONTINUE;
            END IF;
            SELECT coalesce(array_agg(o.delivered_at ORDER BY o.delivered_at DESC) FILTER (WHERE o.delivered_at IS NOT NULL), '{}'),
                   count(*) FILTER (WHERE o.delivered_at IS NULL)
              INTO v_sent, v_in_hand
              FROM outbox o
             WHERE o.user_id = v_found.user_id AND o.channel = v_found.channel AND o.template = v_found.template
               AND o.outbox_id <> v_found.outbox_id AND (o.payload ->> 'severity' IS NOT DISTINCT FROM 'critical') = v_critical
               AND (o.delivered_at > p_now - INTERVAL '1 hour'
                    OR o.delivered_at IS NULL AND o.closed_at IS NULL AND o.leased_until > clock_timestamp());
            IF cardinality(v_sent) + v_in_hand >= p_per_hour THEN
                -- All that wait go together, when there is room again.
                UPDATE outbox o
                   SET for_digest = true, leased_until = NULL,
                       due_at = greatest(v_sent[p_per_hour] + INTERVAL '1 hour', p_now + INTERVAL '1 minute')
                 WHERE o.outbox_id IN (
                       SELECT s.outbox_id FROM outbox s
                        WHERE s.user_id = v_found.user_id AND s.channel = v_found.channel AND s.template = v_found.template
                          AND (s.payload ->> 'severity' IS NOT DISTINCT FROM 'critical') = v_critical
                          AND s.delivered_at IS NULL AND s.closed_at IS NULL AND coalesce(s.due_at, s.created_at) <= p_now
                          AND (s.leased_until IS NULL OR s.leased_until <= clock_timestamp())
                          FOR UPDATE SKIP LOCKED);
                CONTINUE;
            END IF;
            IF v_found.for_digest THEN
                SELECT coalesce(array_agg(s.outbox_id ORDER BY s.outbox_id), '{}'),
                       coalesce(jsonb_agg(s.payload || jsonb_build_object('created_at', s.created_at) ORDER BY s.outbox_id), '[]')
                  INTO members, others
                  FROM (SELECT o.* FROM outbox o
                         WHERE o.user_id = v_found.user_id AND o.channel = v_found.channel AND o.template = v_found.template
                           AND o.outbox_id <> v_found.outbox_id AND o.delivered_at IS NULL AND o.closed_at IS NULL
                           AND (o.payload ->> 'severity' IS NOT DISTINCT FROM 'critical') = v_critical
                           AND coalesce(o.due_at, o.created_at) <= p_now AND NOT outbox_is_over(o, p_now) AND outbox_unwanted(o) IS NULL
                           AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())
                         ORDER BY o.outbox_id LIMIT 1000 FOR UPDATE SKIP LOCKED) AS s;
            END IF;
        END IF;
        UPDATE outbox o SET attempts = o.attempts + 1, leased_until = v_lease
         WHERE o.outbox_id = ANY (v_found.outbox_id || members);
        SELECT v_found.outbox_id, v_found.message_key, v_found.user_id, v_found.template,
               v_found.payload || jsonb_build_object('created_at', v_found.created_at), v_found.sealed_secret, v_found.attempts + 1, v_lease,
               u.name, coalesce(v_found.payload ->> 'email', u.email), u.phone, v_preferences.language, v_preferences.timezone
          INTO outbox_id, message_key, user_id, template, payload, sealed_secret, attempt, leased_until, name, email, phone, language, timezone
          FROM users u WHERE u.user_id = v_found.user_id;
        RETURN NEXT;
        RETURN;
    END LOOP;
END
$$;
COMMENT ON FUNCTION outbox_claim(text, boolean, interval, integer, timestamptz) IS 'The next message of a channel that is due, for the time of p_lease, or no row; codes go first, and with p_codes nothing else. What its person does not want is closed, what falls into quiet hours waits for their end, and beyond p_per_hour of one template in an hour, critical ones counted apart, the rest waits and goes as one, but for webhooks, which get each at once: members are the messages that go with it, others what they say';
GRANT EXECUTE ON FUNCTION outbox_claim(text, boolean, interval, integer, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION outbox_end(
    p_outbox_id bigint, p_members bigint[], p_leased_until timestamptz, p_outcome text, p_reply text, p_due_at timestamptz, p_now timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_ended boolean;
BEGIN
    UPDATE outbox o
       SET leased_until = NULL, due_at = coalesce(p_due_at, o.due_at),
           delivered_at = CASE WHEN p_outcome = 'delivered' AND o.outbox_id = p_outbox_id THEN greatest(p_now, o.created_at) END,
           closed_at = CASE WHEN p_outcome = 'dead' OR p_outcome = 'delivered' AND o.outbox_id <> p_outbox_id THEN greatest(p_now, o.created_at) END,
           closed_as = CASE WHEN p_outcome = 'dead' THEN 'dead' WHEN p_outcome = 'delivered' AND o.outbox_id <> p_outbox_id THEN 'digested' END,
           sealed_secret = CASE WHEN p_outcome <> 'delivered' THEN o.sealed_secret END,
           last_error = CASE WHEN p_outcome <> 'delivered' THEN p_reply END
     WHERE o.outbox_id = ANY (p_outbox_id || p_members) AND o.leased_until = p_leased_until AND o.delivered_at IS NULL AND o.closed_at IS NULL;
    v_ended := FOUND;
    INSERT INTO deliveries (outbox_id, channel, attempt, attempted_at, outcome, reply)
    SELECT o.outbox_id, o.channel, o.attempts, p_now,
           CASE WHEN p_outcome = 'delivered' AND o.outbox_id <> p_outbox_id THEN 'digested' ELSE p_outcome END,
           CASE WHEN o.outbox_id = p_outbox_id THEN p_reply ELSE 'with message ' || p_outbox_id END
      FROM outbox o WHERE o.outbox_id = ANY (p_outbox_id || p_members);
    RETURN v_ended;
END
$$;
COMMENT ON FUNCTION outbox_end(bigint, bigint[], timestamptz, text, text, timestamptz, timestamptz) IS 'What became of an attempt: delivered, deferred to p_due_at, or dead. False, and only the log has it, where the lease was over and somebody else has the message';
GRANT EXECUTE ON FUNCTION outbox_end(bigint, bigint[], timestamptz, text, text, timestamptz, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION outbox_expire(p_limit integer, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_found outbox;
    v_closed integer := 0;
BEGIN
    -- A code of which the server refused the address, and that could have been tried again until now.
    UPDATE outbox SET sealed_secret = NULL
     WHERE outbox_id IN (SELECT o.outbox_id FROM outbox o
                          WHERE o.sealed_secret IS NOT NULL AND o.expires_at <= p_now AND o.closed_at IS NOT NULL
                          LIMIT p_limit FOR UPDATE SKIP LOCKED);
    FOR v_found IN
        SELECT o.* FROM outbox o
         WHERE o.delivered_at IS NULL AND o.closed_at IS NULL
           AND (o.expires_at <= p_now OR o.created_at <= p_now - INTERVAL '3 days') AND outbox_is_over(o, p_now)
           AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())
         LIMIT p_limit FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM outbox_close(v_found, 'expired', coalesce(v_found.last_error, 'its time was over'), p_now);
        v_closed := v_closed + 1;
    END LOOP;
    RETURN v_closed;
END
$$;
COMMENT ON FUNCTION outbox_expire(integer, timestamptz) IS 'Closes at most p_limit messages whose time is over, and takes the secrets out of those that were dead before; how many were closed';
GRANT EXECUTE ON FUNCTION outbox_expire(integer, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION outbox_retry(p_outbox_id bigint, p_now timestamptz) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH again AS (
        UPDATE outbox o
           SET closed_at = NULL, closed_as = NULL, attempts = 0, due_at = p_now,
               expires_at = coalesce(o.expires_at, p_now + INTERVAL '3 days')
         WHERE o.outbox_id = p_outbox_id AND o.closed_as = 'dead' AND (o.expires_at IS NULL OR o.expires_at > p_now)
        RETURNING 1)
    SELECT EXISTS (SELECT FROM again)
$$;
COMMENT ON FUNCTION outbox_retry(bigint, timestamptz) IS 'Has a dead message tried again, under the same key; false where it is not dead, or its time is over';

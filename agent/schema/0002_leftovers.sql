-- What a done delivery could not clear away is swept as well; and what turns out not to lie where it was delivered may
-- be queued again. Deliveries may wait for hours.

UPDATE delivery SET has_partial = 0 WHERE state = 'done' AND has_partial = 1;
DROP INDEX delivery_leftover;
CREATE INDEX delivery_leftover ON delivery (destination, id) WHERE state IN ('skipped', 'done') AND has_partial = 1;

-- What waits for a destination's hours is released when they begin, and is not stepped over at every look until then.
DROP INDEX delivery_next;
CREATE INDEX delivery_next ON delivery (destination, rank, captured DESC, id DESC)
    WHERE state = 'queued' AND waiting_for IS NOT 'schedule';

INSERT INTO transition (subject, from_state, to_state) VALUES ('delivery', 'done', 'queued');

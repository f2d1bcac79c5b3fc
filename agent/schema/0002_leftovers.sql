-- What a done delivery could not clear away is swept as well; and what turns out not to lie where it was delivered may
-- be queued again.

UPDATE delivery SET has_partial = 0 WHERE state = 'done' AND has_partial = 1;
DROP INDEX delivery_leftover;
CREATE INDEX delivery_leftover ON delivery (destination, id) WHERE state IN ('skipped', 'done') AND has_partial = 1;

INSERT INTO transition (subject, from_state, to_state) VALUES ('delivery', 'done', 'queued');

// The open connections of this node, and how to find those of a user without walking over all of them.
import type { Connection } from './connection.ts';

export interface Directory extends Iterable<Connection> {
  readonly size: number;
  add(connection: Connection): void;
  /** Its user is known from now on. */
  identify(connection: Connection, user: string): void;
  delete(connection: Connection): void;
  ofId(id: string): Connection | undefined;
  ofUser(user: string): readonly Connection[];
  /** Walks over all: sessions change hands too often to be kept by name. */
  ofSession(session: string): Connection | undefined;
}

export const createDirectory = (): Directory => {
  const byId = new Map<string, Connection>();
  /** Most users have one connection: a set only from the second on. */
  const byUser = new Map<string, Connection | Set<Connection>>();

  const forgetUser = (connection: Connection, user: string): void => {
    const found = byUser.get(user);
    if (found === connection) byUser.delete(user);
    else if (found instanceof Set) {
      found.delete(connection);
      if (found.size === 0) byUser.delete(user);
    }
  };

  return {
    get size() {
      return byId.size;
    },
    [Symbol.iterator]: () => byId.values(),
    add(connection) {
      byId.set(connection.id, connection);
    },
    identify(connection, user) {
      const found = byUser.get(user);
      if (found === undefined) byUser.set(user, connection);
      else if (found instanceof Set) found.add(connection);
      else if (found !== connection) byUser.set(user, new Set([found, connection]));
    },
    delete(connection) {
      byId.delete(connection.id);
      const { who } = connection;
      if (who.kind === 'user') forgetUser(connection, who.user);
    },
    ofId: (id) => byId.get(id),
    ofUser(user) {
      const found = byUser.get(user);
      if (found === undefined) return [];
      return found instanceof Set ? [...found] : [found];
    },
    ofSession(session) {
      for (const connection of byId.values()) if (connection.session === session) return connection;
      return undefined;
    },
  };
};

// The part of npm phoenix 1.8 that the demo uses; the package has no types.
declare module "phoenix" {
  export class Push {
    receive(status: "ok" | "error" | "timeout", callback: (response: unknown) => void): this;
  }

  export class Channel {
    readonly topic: string;
    join(timeout?: number): Push;
    leave(timeout?: number): Push;
    push(event: string, payload: object, timeout?: number): Push;
    on(event: string, callback: (payload: unknown) => void): number;
    onError(callback: (reason: unknown) => void): void;
  }

  export interface SocketOptions {
    transport?: new (url: string | URL, protocols?: string | string[]) => WebSocket;
    params?: object;
    heartbeatIntervalMs?: number;
  }

  export class Socket {
    constructor(endpoint: string, options?: SocketOptions);
    connect(): void;
    disconnect(callback?: () => void): void;
    channel(topic: string, params?: object | (() => object)): Channel;
    onOpen(callback: () => void): void;
    onClose(callback: (event: CloseEvent) => void): void;
    ping(callback: (milliseconds: number) => void): boolean;
  }
}

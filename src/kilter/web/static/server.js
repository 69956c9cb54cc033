// Requests to the server, with the word that proves that they come from this page.

export class Server {
  constructor(page) {
    this.page = page;
    this.csrf = page.csrf;
  }

  /** Post JSON to a path of the task; throws where there is no connection. */
  async post(path, body) {
    const answer = await this.#post(path, body);
    if (answer.status !== 403) return answer;
    const { person, csrf } = await this.#session(); // signed in anew since the page was loaded?
    if (person !== this.page.person) return { status: 401, body: null }; // nobody, or somebody else: not this one's work
    if (csrf === this.csrf) return answer;
    this.csrf = csrf;
    return this.#post(path, body);
  }

  async #post(path, body) {
    const response = await fetch(this.page.api + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF": this.csrf },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text ? JSON.parse(text) : null };
  }

  /** Who is signed in; nobody: {}. Throws where the server cannot say. */
  async #session() {
    const response = await fetch(this.page.session);
    if (response.status === 401) return {};
    if (!response.ok) throw new Error(`the session: ${response.status}`);
    return response.json();
  }
}

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
    return (await this.#renew()) ? this.#post(path, body) : answer; // signed in anew since the page was loaded
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

  async #renew() {
    const response = await fetch(this.page.session);
    if (!response.ok) return false;
    const { person, csrf } = await response.json();
    if (person !== this.page.person || csrf === this.csrf) return false;
    this.csrf = csrf;
    return true;
  }
}
